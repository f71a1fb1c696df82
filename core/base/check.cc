#include "core/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace denoise::internal {

void FailCheck(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace denoise::internal
