// A server that speaks as a test wants, on a port of this machine.
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace denoise {

class RawServer {
 public:
  // What happens to a connection, which is closed afterwards. One at a time; ends at the latest once
  // the client has closed its end.
  using Handler = std::function<void(int socket)>;
  explicit RawServer(Handler handler);
  ~RawServer();

  std::string address() const;

  // Reads until the client closes.
  static void StaySilent(int socket);
  // Says `words` once the client has said something, then nothing.
  static Handler Saying(std::string words);
  // Says `words` one byte after the other, over and over, until the client closes.
  static Handler Dripping(std::string words);

 private:
  void Serve();

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace denoise
