#include "tests/client/raw_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

void Require(bool done) {
  if (!done) std::abort();
}

}  // namespace

RawServer::RawServer(Handler handler) : handler_(std::move(handler)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Require(bind(listener_, generic, size) == 0 && listen(listener_, 16) == 0 &&
          getsockname(listener_, generic, &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

RawServer::~RawServer() {
  shutdown(listener_, SHUT_RDWR);
  thread_.join();
  close(listener_);
}

std::string RawServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

void RawServer::StaySilent(int socket) {
  char bytes[1024];
  while (recv(socket, bytes, sizeof(bytes), 0) > 0) {
  }
}

RawServer::Handler RawServer::Saying(std::string words) {
  return [words = std::move(words)](int socket) {
    char bytes[1024];
    if (recv(socket, bytes, sizeof(bytes), 0) <= 0) return;
    send(socket, words.data(), words.size(), MSG_NOSIGNAL);
    shutdown(socket, SHUT_WR);
    StaySilent(socket);
  };
}

RawServer::Handler RawServer::Dripping(std::string words) {
  return [words = std::move(words)](int socket) {
    constexpr int kPauseMs = 5;
    for (size_t i = 0; send(socket, &words[i % words.size()], 1, MSG_NOSIGNAL) == 1; ++i) {
      poll(nullptr, 0, kPauseMs);
    }
  };
}

void RawServer::Serve() {
  int connection = 0;
  while ((connection = accept(listener_, nullptr, nullptr)) >= 0) {
    handler_(connection);
    close(connection);
  }
}

}  // namespace denoise
