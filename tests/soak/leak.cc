// A library to preload into the server, for the soak's negative control: it leaks when the server has
// accepted a connection.
//
//     SOAK_LEAK               what leaks: memory, descriptors or threads; several with commas
//     SOAK_LEAK_BYTES         how much memory leaks at a time
//     SOAK_LEAK_MILLISECONDS  how long it waits before it leaks again
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace {

bool Leaks(const char* what) {
  const char* const leaks = std::getenv("SOAK_LEAK");
  return leaks != nullptr && std::strstr(leaks, what) != nullptr;
}

long Number(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? 0 : std::atol(text);
}

bool IsTimeToLeak() {
  using std::chrono::steady_clock;
  static const auto interval = std::chrono::milliseconds(Number("SOAK_LEAK_MILLISECONDS"));
  static std::atomic<steady_clock::rep> next = 0;
  const auto now = steady_clock::now().time_since_epoch();
  auto due = next.load();
  return now.count() >= due &&
         next.compare_exchange_strong(due, steady_clock::duration(now + interval).count());
}

// Memory counts once it is written to, and a compiler leaves out what nobody reads.
void LeakMemory() {
  constexpr size_t kPageBytes = 4096;
  static const auto bytes = static_cast<size_t>(Number("SOAK_LEAK_BYTES"));
  auto* const leaked = static_cast<volatile char*>(std::malloc(bytes));
  if (leaked == nullptr) return;
  for (size_t i = 0; i < bytes; i += kPageBytes) leaked[i] = 1;
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
  if (connection >= 0 && IsTimeToLeak()) Leak();
  return connection;
}
