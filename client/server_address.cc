#include "client/server_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

constexpr int kMaxPort = 65535;

// What follows "unix:" or "unix-abstract:".
std::optional<std::string_view> SocketPathOf(std::string_view address) {
  for (const std::string_view scheme : {"unix:", "unix-abstract:"}) {
    if (address.starts_with(scheme)) return address.substr(scheme.size());
  }
  return std::nullopt;
}

// Of ipv4: and ipv6:, the only ones with which gRPC takes a list.
bool IsNumeric(std::string_view address) {
  return address.starts_with("ipv4:") || address.starts_with("ipv6:");
}

// "localhost:50051" of "dns://8.8.8.8:53/localhost:50051". Other schemes remain part of the host.
std::string_view WithoutScheme(std::string_view address) {
  for (const std::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (!address.starts_with(scheme)) continue;
    address.remove_prefix(scheme.size());
    if (!address.starts_with("//")) return address;
    const size_t path = address.find('/', 2);
    return path == std::string_view::npos ? "" : address.substr(path + 1);
  }
  return address;
}

// A colon within a host needs brackets, so "::1" has no port.
Endpoint ToEndpoint(std::string_view text) {
  const size_t bracket = text.find(']');
  if (text.starts_with('[') && bracket != std::string_view::npos) {
    const std::string_view rest = text.substr(bracket + 1);
    return {std::string(text.substr(1, bracket - 1)),
            std::string(rest.starts_with(':') ? rest.substr(1) : "")};
  }
  if (std::count(text.begin(), text.end(), ':') != 1) return {std::string(text), ""};
  const size_t colon = text.find(':');
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

bool IsPort(const std::string& text) {
  int port = 0;
  return std::all_of(text.begin(), text.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(text, &port) && port >= 1 && port <= kMaxPort;
}

bool IsIpv4(const std::string& text) {
  in_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

// May name the interface: "fe80::1%eth0".
bool IsIpv6(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET6, text.substr(0, text.find('%')).c_str(), &address) == 1;
}

// What is neither is a name. gRPC decodes "%41", and takes what follows a '?' or a '#' for something
// else.
bool IsHost(const std::string& text) {
  return IsIpv6(text) || (!text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' ||
                  c == '_';
         }));
}

bool IsLoopbackIpv4(const std::string& text) { return IsIpv4(text) && text.starts_with("127."); }

absl::Status CheckSocketPath(std::string_view path) {
  // gRPC knows no host before a path.
  const bool has_host = path.starts_with("//") && !path.starts_with("///");
  if (has_host) return absl::InvalidArgumentError("must be unix:PATH or unix:///PATH");
  const size_t max_bytes = sizeof(sockaddr_un::sun_path) - 1;
  if (!path.empty() && path.size() <= max_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("must have a path of 1 to ", max_bytes, " bytes; has one of ", path.size()));
}

}  // namespace

std::vector<Endpoint> EndpointsOf(std::string_view address) {
  if (SocketPathOf(address)) return {};
  const std::string_view list = WithoutScheme(address);
  if (!IsNumeric(address)) return {ToEndpoint(list)};
  std::vector<Endpoint> endpoints;
  for (const absl::string_view text :
       absl::StrSplit(absl::string_view(list.data(), list.size()), ',')) {
    endpoints.push_back(ToEndpoint({text.data(), text.size()}));
  }
  return endpoints;
}

absl::Status CheckServerAddress(std::string_view address) {
  if (const auto path = SocketPathOf(address)) return CheckSocketPath(*path);
  const std::vector<Endpoint> endpoints = EndpointsOf(address);
  const auto is_host = address.starts_with("ipv4:")   ? &IsIpv4
                       : address.starts_with("ipv6:") ? &IsIpv6
                                                      : &IsHost;
  const auto is_good = [is_host](const Endpoint& one) {
    return IsPort(one.port) && is_host(one.host);
  };
  if (std::all_of(endpoints.begin(), endpoints.end(), is_good)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("must be HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:50051 or "
                   "[::1]:50051, or unix:PATH; is ",
                   Quoted(address)));
}

bool IsLoopback(std::string_view address) {
  const std::vector<Endpoint> endpoints = EndpointsOf(address);
  return std::all_of(endpoints.begin(), endpoints.end(), [](const Endpoint& one) {
    return absl::EqualsIgnoreCase(one.host, "localhost") || one.host == "::1" ||
           IsLoopbackIpv4(one.host);
  });
}

}  // namespace denoise
