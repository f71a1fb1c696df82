#include "tests/support/http_get.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

absl::StatusOr<int> Connect(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return absl::UnavailableError(absl::StrCat("no such host: ", host));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
  if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    const absl::Status status = absl::ErrnoToStatus(errno, "connect");
    close(fd);
    return absl::UnavailableError(status.message());
  }
  return fd;
}

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t count; (count = read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(count));
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::InvalidArgumentError("HOST:PORT expected");
  ASSIGN_OR_RETURN(const int fd, Connect(address.substr(0, colon), address.substr(colon + 1)));

  // HTTP/1.0, so that the end of the connection is the end of the body.
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: ", address, "\r\n\r\n");
  const bool sent = write(fd, request.data(), request.size()) == ssize_t(request.size());
  const std::string response = sent ? ReadAll(fd) : "";
  close(fd);

  const size_t body = response.find("\r\n\r\n");
  if (body == std::string::npos) return absl::UnavailableError("no answer");
  if (response.substr(0, response.find("\r\n")).find(" 200") == std::string::npos) {
    return absl::InternalError(response.substr(0, response.find("\r\n")));
  }
  return response.substr(body + 4);
}

}  // namespace denoise
