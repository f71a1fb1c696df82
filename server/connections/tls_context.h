// Certificates, and the protocol that TLS announces.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

typedef struct ssl_st SSL;

namespace denoise {

// Protocols as ALPN sends them, the length before the name (RFC 7301, section 3.1).
inline constexpr std::string_view kHttp2 = "\x02h2";
inline constexpr std::string_view kHttp11 = "\x08http/1.1";

// PEM. Certificate and key belong together; without them there is no TLS.
struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string client_ca;  // clients need a certificate of one of these; empty: they need none
};

// Of a server that speaks `protocol`, one of the above: clients that offer only others are refused.
// Null where there is no TLS. InvalidArgument names the flag whose file is not what it should be.
absl::StatusOr<std::unique_ptr<boost::asio::ssl::context>> MakeTlsContext(
    const TlsFiles& files, const std::string_view& protocol);

// When the first of the certificates expires, whoever of the chain it is; InfiniteFuture without any.
// The files are those of a context that could be made.
absl::Time ExpiryOf(const TlsFiles& files);

// Whom the client's certificate names: the common name of its subject, or the first DNS name of one
// without one. Empty where the client has shown none, or it names nobody or several.
std::string CertificateNameOf(SSL* connection);

}  // namespace denoise
