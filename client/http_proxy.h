// Whether gRPC reaches a server through an HTTP proxy of the environment.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace denoise {

struct HttpProxy {
  std::string url;       // without a name and password in it
  std::string variable;  // the environment variable that names it
};

// The proxy that gRPC uses for `address` (server_address.h): none for this machine, otherwise that
// of grpc_proxy, https_proxy or http_proxy, in this order, unless no_grpc_proxy or no_proxy lists
// the host. `environment` is getenv().
std::optional<HttpProxy> ProxyFor(std::string_view address,
                                  const std::function<const char*(const char*)>& environment);

}  // namespace denoise
