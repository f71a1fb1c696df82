#include "server/listener_options.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// New connections that an address may open at once are those of this long.
constexpr double kConnectionBurstSeconds = 8;
constexpr size_t kMaxPemBytes = 1 << 20;

// A connection takes three descriptors for gRPC, and one for HTTP; models, data sets and logs need
// some, too.
int MaxConnections(int wanted) {
  constexpr rlim_t kDescriptorsElsewhere = 256;
  constexpr rlim_t kDescriptorsEach = 4;
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  const rlim_t room = limit.rlim_cur > kDescriptorsElsewhere
                          ? (limit.rlim_cur - kDescriptorsElsewhere) / kDescriptorsEach
                          : 1;
  return static_cast<int>(std::min(static_cast<rlim_t>(wanted), room));
}

// `status`, with the flag that gave the address and what to do about it.
absl::Status NamesFlag(const absl::Status& status, std::string_view flag) {
  const std::string name(flag), message(status.message());
  if (!absl::IsUnavailable(status)) {
    return absl::Status(status.code(), absl::StrCat(name, ": ", message));
  }
  return absl::UnavailableError(
      absl::StrCat(message, ". Choose another address with ", name, "; port 0 takes any free one"));
}

}  // namespace

absl::StatusOr<ListeningSockets> OpenListener(std::string_view flag, const std::string& text) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
  if (!address.ok()) return NamesFlag(address.status(), flag);
  absl::StatusOr<ListeningSockets> sockets = ListeningSockets::Open(*address);
  if (!sockets.ok()) return NamesFlag(sockets.status(), flag);
  return sockets;
}

absl::Status CheckListener(std::string_view flag, const std::string& text) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
  if (!address.ok()) return NamesFlag(address.status(), flag);
  if (!address->unix_path.empty()) return absl::OkStatus();
  const absl::Status is_free = ListeningSockets::CheckFree(*address);
  return is_free.ok() ? is_free : NamesFlag(is_free, flag);
}

ConnectionLimits::Limits ConnectionLimitsOf(const ServerFlags& flags) {
  return {.connections = MaxConnections(flags.max_connections),
          .connections_per_address = flags.max_connections_per_address,
          .new_per_address = {.burst = kConnectionBurstSeconds * flags.max_connection_rate,
                              .per_second = static_cast<double>(flags.max_connection_rate)}};
}

absl::StatusOr<TlsFiles> ReadTlsFiles(const ServerFlags& flags) {
  if (flags.tls_cert.empty()) return TlsFiles();
  TlsFiles files;
  ASSIGN_OR_RETURN(files.certificate, ReadFile(flags.tls_cert, kMaxPemBytes));
  ASSIGN_OR_RETURN(files.key, ReadFile(flags.tls_key, kMaxPemBytes));
  if (flags.tls_client_ca.empty()) return files;
  ASSIGN_OR_RETURN(files.client_ca, ReadFile(flags.tls_client_ca, kMaxPemBytes));
  return files;
}

}  // namespace denoise
