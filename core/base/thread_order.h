// For the thread sanitizer: an order between threads that it cannot see.
//
// gRPC is linked as it comes, without instrumentation, so the sanitizer does not know that what a
// thread did before it handed an object to gRPC comes before what gRPC's thread does with it later.
// These two say so, and are nothing in any other build.
#pragma once

#ifdef __SANITIZE_THREAD__
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace denoise {

// What this thread has done so far comes before everything that follows an AfterHandOver(object).
inline void BeforeHandOver([[maybe_unused]] void* object) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(object);
#endif
}

inline void AfterHandOver([[maybe_unused]] void* object) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(object);
#endif
}

}  // namespace denoise
