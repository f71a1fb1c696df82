// A TCP connection that says exactly what a test wants.
#pragma once

#include <string>
#include <string_view>

namespace denoise {

// Fails the test if it cannot connect, or if what it waits for does not come in time.
class RawConnection {
 public:
  explicit RawConnection(const std::string& address);  // "HOST:PORT", an IPv4 address
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  void Send(std::string_view bytes);
  // Says that nothing more will be sent.
  void Finish();
  // All that has come, once it has `text` in it. It is not returned again.
  std::string ReadUntil(std::string_view text);
  // One answer over HTTP/1.1 with a Content-Length, or without a body.
  std::string ReadAnswer();
  // Whether there is another answer before the connection ends.
  bool ReadsAnswer();
  // All that comes until the other side closes the connection.
  std::string ReadToEnd();
  // Closes with a reset where bytes are unread.
  void Close();

 private:
  bool ReadMore();  // false at the end
  bool ReadAnswerInto(std::string& answer);
  std::string Take(size_t bytes);

  int descriptor_ = -1;
  std::string unread_;
};

}  // namespace denoise
