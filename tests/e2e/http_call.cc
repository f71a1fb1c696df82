#include "tests/e2e/http_call.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/raw_connection.h"

namespace denoise {

std::string HttpRequest(const std::string& address, const std::string& method,
                        const std::string& path, const std::vector<std::string>& headers,
                        const std::string& body) {
  std::string request =
      absl::StrCat(method, " ", path, " HTTP/1.0\r\nContent-Length: ", body.size(), "\r\n");
  bool has_host = false;
  for (const std::string& header : headers) {
    absl::StrAppend(&request, header, "\r\n");
    has_host |= absl::StartsWith(header, "Host: ");
  }
  if (!has_host) absl::StrAppend(&request, "Host: ", address, "\r\n");
  return absl::StrCat(request, "\r\n", body);
}

HttpAnswer AskHttp(const std::string& address, const std::string& method, const std::string& path,
                   const std::vector<std::string>& headers, const std::string& body) {
  RawConnection connection(address);
  connection.Send(HttpRequest(address, method, path, headers, body));
  const std::string bytes = connection.ReadToEnd();
  const size_t end = bytes.find("\r\n\r\n");
  EXPECT_NE(end, std::string::npos) << bytes;
  if (end == std::string::npos) return {};
  return {std::stoi(bytes.substr(9, 3)), bytes.substr(0, end + 2), bytes.substr(end + 4)};
}

}  // namespace denoise
