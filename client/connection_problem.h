// Why somebody who listens at an address cannot be called: a mistake with TLS, or with the port. gRPC
// reports these as it reports a server that is not there.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/timed_socket.h"

namespace denoise {

inline constexpr char kTlsExpected[] = "TLS_EXPECTED";  // by the server; the client is plain
inline constexpr char kTlsNotExpected[] = "TLS_NOT_EXPECTED";
inline constexpr char kNotGrpc[] = "NOT_GRPC";
inline constexpr char kTlsUnknownAuthority[] = "TLS_UNKNOWN_AUTHORITY";
inline constexpr char kTlsOtherHost[] = "TLS_OTHER_HOST";
inline constexpr char kTlsExpired[] = "TLS_EXPIRED";
inline constexpr char kTlsNotYetValid[] = "TLS_NOT_YET_VALID";
inline constexpr char kTlsCertificateInvalid[] = "TLS_CERTIFICATE_INVALID";  // for another reason
inline constexpr char kTlsAuthorityInvalid[] = "TLS_AUTHORITY_INVALID";      // a trusted one
inline constexpr char kTlsClientCertificateMissing[] = "TLS_CLIENT_CERTIFICATE_MISSING";
inline constexpr char kTlsClientCertificateRefused[] = "TLS_CLIENT_CERTIFICATE_REFUSED";

struct ConnectionProblem {
  const char* reason;  // one of the above
  std::string
      description;  // "the server's certificate expired on 2026-01-31"; may quote the server
};

// Connects to the address of `options` once or twice, and looks at what is said there. Nullopt:
// nobody listens, nothing proves a mistake before the deadline, or the address is not that of a
// single host that is reached directly. Shows the client's certificate only to a server whose own is
// good. Blocks, at most until the deadline.
std::optional<ConnectionProblem> FindConnectionProblem(const ClientOptions& options,
                                                       absl::Time deadline,
                                                       Resolver resolver = &getaddrinfo);

}  // namespace denoise
