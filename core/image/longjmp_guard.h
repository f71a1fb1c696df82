// A fence around libpng and libjpeg, which report errors by longjmp. The only place where setjmp is
// called.
#pragma once

#include <csetjmp>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace denoise {

// Lives on one thread's stack, around the library's handle and outside every body it runs.
//
// A body that fails is left without unwinding: neither it nor a callback above it may own anything
// with a destructor at the moment it calls into the library. What they fill (buffers, handles)
// belongs to the caller of Run.
class LongjmpGuard {
 public:
  LongjmpGuard() = default;
  LongjmpGuard(const LongjmpGuard&) = delete;
  LongjmpGuard& operator=(const LongjmpGuard&) = delete;

  // Runs `body`; false when it ended in Fail(). Not to be nested.
  [[nodiscard]] bool Run(absl::FunctionRef<void()> body);

  // For the library's error callback, below Run(): remembers the message and leaves the body.
  [[noreturn]] void Fail(const char* message);

  // Why the last Run() failed.
  absl::string_view message() const { return message_; }

 private:
  std::jmp_buf environment_;
  char message_[256] = "";  // plain storage: Fail() must not allocate
};

}  // namespace denoise
