#include "client/http_proxy.h"

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace denoise {
namespace {

bool IsUnixSocket(std::string_view address) {
  return address.starts_with("unix:") || address.starts_with("unix-abstract:");
}

// "localhost" of "dns:///localhost:50051", "::1" of "[::1]:50051".
std::string HostOf(std::string_view address) {
  for (const std::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (address.starts_with(scheme)) address.remove_prefix(scheme.size());
  }
  if (address.starts_with("//")) {
    address.remove_prefix(std::min(address.find('/', 2), address.size() - 1) + 1);
  }
  if (address.starts_with('[')) {
    address.remove_prefix(1);
    return std::string(address.substr(0, address.find(']')));
  }
  const bool has_port = std::count(address.begin(), address.end(), ':') == 1;
  return std::string(has_port ? address.substr(0, address.find(':')) : address);
}

bool IsLoopbackIpv4(std::string_view host) {
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(host.data(), host.size()), '.');
  return parts.size() == 4 && parts[0] == "127" &&
         std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
           int number = 0;
           return absl::SimpleAtoi(part, &number) && number >= 0 && number <= 255;
         });
}

const char* FirstSet(const std::function<const char*(const char*)>& environment,
                     std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    const char* const value = environment(variable);
    if (value != nullptr && *value != '\0') return variable;
  }
  return nullptr;
}

bool IsExcepted(const std::string& host,
                const std::function<const char*(const char*)>& environment) {
  const char* const variable = FirstSet(environment, {"no_grpc_proxy", "no_proxy"});
  if (variable == nullptr) return false;
  for (const absl::string_view entry :
       absl::StrSplit(environment(variable), ',', absl::SkipWhitespace())) {
    if (absl::EndsWithIgnoreCase(host, absl::StripAsciiWhitespace(entry))) return true;
  }
  return false;
}

// A name and a password in a URL are nobody's business.
std::string WithoutCredentials(std::string url) {
  const size_t begin = url.find("//") == std::string::npos ? 0 : url.find("//") + 2;
  const size_t at = url.rfind('@');
  if (at != std::string::npos && at >= begin) url.erase(begin, at + 1 - begin);
  return url;
}

}  // namespace

bool IsLoopback(std::string_view address) {
  if (IsUnixSocket(address)) return true;
  const std::string host = HostOf(address);
  return absl::EqualsIgnoreCase(host, "localhost") || host == "::1" || IsLoopbackIpv4(host);
}

std::optional<HttpProxy> ProxyFor(std::string_view address,
                                  const std::function<const char*(const char*)>& environment) {
  if (IsLoopback(address) || IsExcepted(HostOf(address), environment)) return std::nullopt;
  const char* const variable = FirstSet(environment, {"grpc_proxy", "https_proxy", "http_proxy"});
  if (variable == nullptr) return std::nullopt;
  return HttpProxy{.url = WithoutCredentials(environment(variable)), .variable = variable};
}

}  // namespace denoise
