#include "tests/support/raw_connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace denoise {
namespace {

constexpr int kPatienceMs = 120'000;

}  // namespace

RawConnection::RawConnection(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  EXPECT_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr), 1) << address;
  descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0) << address;
}

RawConnection::~RawConnection() { Close(); }

void RawConnection::Close() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

void RawConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {  // a server that has closed the connection is found out by reading
    const ssize_t sent = send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void RawConnection::Finish() { shutdown(descriptor_, SHUT_WR); }

bool RawConnection::ReadMore() {
  pollfd readable{.fd = descriptor_, .events = POLLIN, .revents = 0};
  if (poll(&readable, 1, kPatienceMs) != 1) {
    ADD_FAILURE() << "nothing comes; there was \"" << unread_ << "\"";
    return false;
  }
  std::array<char, 16384> block;
  const ssize_t count = read(descriptor_, block.data(), block.size());
  if (count <= 0) return false;
  unread_.append(block.data(), static_cast<size_t>(count));
  return true;
}

std::string RawConnection::Take(size_t bytes) {
  std::string taken = unread_.substr(0, bytes);
  unread_.erase(0, bytes);
  return taken;
}

std::string RawConnection::ReadUntil(std::string_view text) {
  while (unread_.find(text) == std::string::npos) {
    if (!ReadMore()) {
      ADD_FAILURE() << "the connection has ended before \"" << text << "\": " << unread_;
      break;
    }
  }
  return Take(unread_.size());
}

std::string RawConnection::ReadAnswer() {
  std::string answer;
  EXPECT_TRUE(ReadAnswerInto(answer)) << "the connection has ended before an answer: " << unread_;
  return answer;
}

bool RawConnection::ReadsAnswer() {
  std::string answer;
  return ReadAnswerInto(answer);
}

bool RawConnection::ReadAnswerInto(std::string& answer) {
  constexpr char kLength[] = "Content-Length: ";
  while (unread_.find("\r\n\r\n") == std::string::npos) {
    if (!ReadMore()) return false;
  }
  const size_t head = unread_.find("\r\n\r\n") + 4;
  const size_t length = unread_.find(kLength);
  const size_t body =
      length < head ? static_cast<size_t>(std::atoi(unread_.c_str() + length + sizeof(kLength) - 1))
                    : 0;
  while (unread_.size() < head + body) {
    if (!ReadMore()) return false;
  }
  answer = Take(head + body);
  return true;
}

std::string RawConnection::ReadToEnd() {
  while (ReadMore()) {
  }
  return Take(unread_.size());
}

}  // namespace denoise
