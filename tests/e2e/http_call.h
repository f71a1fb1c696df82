// One request over HTTP, and all of its answer.
#pragma once

#include <string>
#include <vector>

namespace denoise {

struct HttpAnswer {
  int status = 0;
  std::string head;
  std::string body;
};

// In HTTP/1.0, so that the end of the connection is that of the answer. `headers` ("Name: value")
// may have a Host; else it is `address`.
std::string HttpRequest(const std::string& address, const std::string& method,
                        const std::string& path, const std::vector<std::string>& headers,
                        const std::string& body);

// Fails the test where there is no answer.
HttpAnswer AskHttp(const std::string& address, const std::string& method, const std::string& path,
                   const std::vector<std::string>& headers = {}, const std::string& body = "");

}  // namespace denoise
