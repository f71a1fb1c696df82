// Tells the thread sanitizer about an order between threads that it cannot see.
//
// gRPC is linked without instrumentation, so the sanitizer does not know that what a thread did
// before it handed an object to gRPC happens before what gRPC's threads do with it. These functions
// do nothing in other builds.
#pragma once

#ifdef __SANITIZE_THREAD__
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace denoise {

// Everything this thread has done so far happens before what follows AfterHandOver(object).
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
