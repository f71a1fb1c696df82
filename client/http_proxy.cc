#include "client/http_proxy.h"

#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/server_address.h"

namespace denoise {
namespace {

const char* FirstSet(const std::function<const char*(const char*)>& environment,
                     std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    const char* const value = environment(variable);
    if (value != nullptr && *value != '\0') return variable;
  }
  return nullptr;
}

// gRPC asks for the first of several hosts.
bool IsExcepted(std::string_view address,
                const std::function<const char*(const char*)>& environment) {
  const char* const variable = FirstSet(environment, {"no_grpc_proxy", "no_proxy"});
  if (variable == nullptr) return false;
  const std::string host = EndpointsOf(address).front().host;
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

std::optional<HttpProxy> ProxyFor(std::string_view address,
                                  const std::function<const char*(const char*)>& environment) {
  if (IsLoopback(address) || IsExcepted(address, environment)) return std::nullopt;
  const char* const variable = FirstSet(environment, {"grpc_proxy", "https_proxy", "http_proxy"});
  if (variable == nullptr) return std::nullopt;
  return HttpProxy{.url = WithoutCredentials(environment(variable)), .variable = variable};
}

}  // namespace denoise
