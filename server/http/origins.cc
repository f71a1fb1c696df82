#include "server/http/origins.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

std::string Lower(std::string_view text) {
  return absl::AsciiStrToLower(absl::string_view(text.data(), text.size()));
}

// "example.org:8080" of "https://example.org:8080"; empty where there is no scheme.
std::string_view HostOf(std::string_view origin) {
  const size_t at = origin.find("://");
  return at == std::string_view::npos ? std::string_view() : origin.substr(at + 3);
}

// Without its port, and without the brackets of an IPv6 address.
std::string WithoutPort(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(1, host.find(']') - 1));
  return std::string(host.substr(0, host.rfind(':')));
}

bool IsAddress(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool IsOrigin(std::string_view text) {
  const std::string_view host = HostOf(text);
  const bool has_scheme = text.starts_with("http://") || text.starts_with("https://");
  return has_scheme && !host.empty() && host.find_first_of("/?# \t@") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<Origins> Origins::Parse(const std::vector<std::string>& allowed,
                                       bool loopback_only) {
  Origins origins;
  origins.loopback_only_ = loopback_only;
  for (const std::string& text : allowed) {
    std::string origin = Lower(text);
    if (origin != "*" && !IsOrigin(origin)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--http-allow-origin: \"", text,
                       "\" is no origin: give a scheme and a host, such as https://example.org, "
                       "or * for all"));
    }
    origins.allowed_.push_back(std::move(origin));
  }
  return origins;
}

bool Origins::KnowsHost(std::string_view host) const {
  if (!loopback_only_) return true;
  const std::string name = Lower(WithoutPort(host));
  if (IsAddress(name) || name == "localhost" || absl::EndsWith(name, ".localhost")) return true;
  return std::any_of(allowed_.begin(), allowed_.end(), [&](const std::string& origin) {
    return WithoutPort(HostOf(origin)) == name;
  });
}

bool Origins::Allows(std::string_view origin, std::string_view host) const {
  if (!IsCross(origin, host)) return true;
  const std::string lower = Lower(origin);
  return std::any_of(allowed_.begin(), allowed_.end(), [&](const std::string& allowed) {
    return allowed == "*" || allowed == lower;
  });
}

bool Origins::IsCross(std::string_view origin, std::string_view host) {
  const std::string lower = Lower(origin);
  const bool is_web = lower.starts_with("http://") || lower.starts_with("https://");
  return !origin.empty() && !(is_web && HostOf(lower) == Lower(host));
}

}  // namespace denoise
