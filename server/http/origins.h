// Which pages may use the server from a browser. Pure, thread-safe.
//
// A browser sends a page's requests wherever the page says, also to servers that only the browser's
// machine can reach. It names the page's origin, which must be the server's own or one that the
// operator allows. A page whose name was made to resolve to 127.0.0.1 (DNS rebinding) is of the
// server's own origin by that measure, so a server that listens on loopback alone is known by its
// addresses and by "localhost", and by no other name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

class Origins {
 public:
  // `allowed` has "https://example.org" and the like, or "*" for all. InvalidArgument names what is
  // no origin.
  static absl::StatusOr<Origins> Parse(const std::vector<std::string>& allowed, bool loopback_only);

  // Whether requests may come to `host`, the header.
  bool KnowsHost(std::string_view host) const;
  // Whether a page of `origin`, the header, may use the server as `host`. Also where there is no
  // page.
  bool Allows(std::string_view origin, std::string_view host) const;
  // Whether the answer must tell the browser so.
  static bool IsCross(std::string_view origin, std::string_view host);

 private:
  std::vector<std::string> allowed_;
  bool loopback_only_ = false;
};

}  // namespace denoise
