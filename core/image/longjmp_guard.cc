#include "core/image/longjmp_guard.h"

#include <cstdio>

namespace denoise {

bool LongjmpGuard::Run(absl::FunctionRef<void()> body) {
  if (setjmp(environment_) != 0) return false;
  body();
  return true;
}

void LongjmpGuard::Fail(const char* message) {
  std::snprintf(message_, sizeof(message_), "%s", message);
  std::longjmp(environment_, 1);
}

}  // namespace denoise
