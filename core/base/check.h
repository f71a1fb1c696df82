// Assertions about our own code: the preconditions that headers state.
//
// Input from outside is never checked with these. It gets an absl::Status in every build.
#pragma once

namespace denoise::internal {

// Prints "core/x.cc:12: check failed: !done()" to standard error and aborts.
[[noreturn]] void FailCheck(const char* file, int line, const char* condition);

}  // namespace denoise::internal

// Aborts with file, line and condition unless the condition holds. Compiled into debug builds (the
// dev and sanitizer presets); elsewhere the condition is compiled but never evaluated. (LibTorch's
// headers define CHECK and DCHECK.)
#ifdef NDEBUG
#define DENOISE_DCHECK(...)                      \
  do {                                           \
    if (false) static_cast<void>((__VA_ARGS__)); \
  } while (false)
#else
#define DENOISE_DCHECK(...)                                             \
  do {                                                                  \
    if (!(__VA_ARGS__)) {                                               \
      ::denoise::internal::FailCheck(__FILE__, __LINE__, #__VA_ARGS__); \
    }                                                                   \
  } while (false)
#endif
