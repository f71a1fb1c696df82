// A library to preload into the server: it kills the process at the N-th change of a file, before
// that change is made, as kill -9 or a power cut could.
//
//     KILL_AT_CHANGE     N; 0 or absent: never
//     COUNT_CHANGES_IN   a file that the number of changes so far is written to, without being one
//
// Changes are what the C library is asked for: writes to regular files, and names made, moved and
// removed.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace {

std::atomic<long> changes = 0;

long Limit() {
  const char* const text = std::getenv("KILL_AT_CHANGE");
  return text == nullptr ? 0 : std::atol(text);
}

// By bare system calls, which are not counted.
void Report(long count) {
  const char* const path = std::getenv("COUNT_CHANGES_IN");
  if (path == nullptr) return;
  const long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  char text[32];
  const int size = snprintf(text, sizeof text, "%ld\n", count);
  syscall(SYS_pwrite64, file, text, size, 0);
  syscall(SYS_close, file);
}

void Change() {
  static const long limit = Limit();
  const long count = ++changes;
  if (count == limit) kill(getpid(), SIGKILL);
  Report(count);
}

void ChangeOf(int file) {
  struct stat info;
  if (fstat(file, &info) == 0 && S_ISREG(info.st_mode)) Change();
}

}  // namespace

// The function `name` of the C library, called with `arguments` after `before`.
#define PRELOADED(result, name, parameters, arguments, before)                    \
  extern "C" result name parameters {                                             \
    using Function = result(*) parameters;                                        \
    static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, #name)); \
    before;                                                                       \
    return next arguments;                                                        \
  }

PRELOADED(ssize_t, write, (int file, const void* bytes, size_t size), (file, bytes, size),
          ChangeOf(file))
PRELOADED(ssize_t, writev, (int file, const struct iovec* parts, int count), (file, parts, count),
          ChangeOf(file))
PRELOADED(ssize_t, pwrite, (int file, const void* bytes, size_t size, off_t offset),
          (file, bytes, size, offset), ChangeOf(file))
PRELOADED(ssize_t, pwrite64, (int file, const void* bytes, size_t size, off64_t offset),
          (file, bytes, size, offset), ChangeOf(file))
PRELOADED(int, fsync, (int file), (file), ChangeOf(file))
PRELOADED(int, fdatasync, (int file), (file), ChangeOf(file))
PRELOADED(int, ftruncate, (int file, off_t size), (file, size), ChangeOf(file))
PRELOADED(int, ftruncate64, (int file, off64_t size), (file, size), ChangeOf(file))
PRELOADED(int, rename, (const char* from, const char* to), (from, to), Change())
PRELOADED(int, unlink, (const char* path), (path), Change())
PRELOADED(int, unlinkat, (int folder, const char* path, int flags), (folder, path, flags), Change())
PRELOADED(int, remove, (const char* path), (path), Change())
PRELOADED(int, mkdir, (const char* path, mode_t mode), (path, mode), Change())
PRELOADED(int, rmdir, (const char* path), (path), Change())
