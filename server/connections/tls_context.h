// Certificates, and the protocol that TLS announces.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// Protocols as ALPN sends them, the length before the name (RFC 7301, section 3.1).
inline constexpr std::string_view kHttp2 = "\x02h2";
inline constexpr std::string_view kHttp11 = "\x08http/1.1";

// Of a server that speaks `protocol`, one of the above: clients that offer only others are refused.
// Null where certificate and key are empty. InvalidArgument names the flag whose file is not what it
// should be: a certificate chain and its private key, in PEM.
absl::StatusOr<std::unique_ptr<boost::asio::ssl::context>> MakeTlsContext(
    const std::string& certificate, const std::string& key, const std::string_view& protocol);

}  // namespace denoise
