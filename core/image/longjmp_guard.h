// Contains the longjmp by which libpng and libjpeg report errors. The only place that calls setjmp.
#pragma once

#include <csetjmp>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace denoise {

// Lives on one thread's stack, longer than the library's handle and outside every body it runs.
//
// A body that fails is left without unwinding the stack. So neither it nor a callback may own
// anything with a destructor while it calls into the library; buffers and handles belong to the
// caller of Run.
class LongjmpGuard {
 public:
  LongjmpGuard() = default;
  LongjmpGuard(const LongjmpGuard&) = delete;
  LongjmpGuard& operator=(const LongjmpGuard&) = delete;

  // Runs `body`. Returns false if it ended in Fail(). Calls must not be nested.
  [[nodiscard]] bool Run(absl::FunctionRef<void()> body);

  // For the library's error callback, during Run(): stores the message and leaves the body.
  [[noreturn]] void Fail(const char* message);

  // Why the last Run() failed.
  absl::string_view message() const { return message_; }

 private:
  std::jmp_buf environment_;
  char message_[256] = "";  // plain storage: Fail() must not allocate
};

}  // namespace denoise
