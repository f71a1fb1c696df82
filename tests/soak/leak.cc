// A library to preload into the server, for the soak's negative control: it leaks whenever the server
// has accepted a connection.
//
//     SOAK_LEAK   what leaks: "memory", "descriptors" or "threads", or several of them with commas
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kLeakedBytes = 256 << 10;

bool Leaks(const char* what) {
  const char* const leaks = std::getenv("SOAK_LEAK");
  return leaks != nullptr && std::strstr(leaks, what) != nullptr;
}

// Through a volatile pointer: an allocation that nobody uses may be left out.
void LeakMemory() {
  if (void* volatile leaked = std::malloc(kLeakedBytes)) std::memset(leaked, 1, kLeakedBytes);
}

void LeakDescriptor() { (void)open("/dev/null", O_RDONLY | O_CLOEXEC); }

void LeakThread() {
  pthread_t thread;
  const auto wait = [](void*) -> void* {
    while (true) pause();
  };
  if (pthread_create(&thread, nullptr, wait, nullptr) == 0) pthread_detach(thread);
}

void Leak() {
  static const bool memory = Leaks("memory"), descriptors = Leaks("descriptors"),
                    threads = Leaks("threads");
  if (memory) LeakMemory();
  if (descriptors) LeakDescriptor();
  if (threads) LeakThread();
}

}  // namespace

extern "C" int accept4(int listener, sockaddr* address, socklen_t* size, int flags) {
  using Accept = int (*)(int, sockaddr*, socklen_t*, int);
  static const auto next = reinterpret_cast<Accept>(dlsym(RTLD_NEXT, "accept4"));
  const int connection = next(listener, address, size, flags);
  if (connection >= 0) Leak();
  return connection;
}
