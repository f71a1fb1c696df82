// Ownership of what C libraries make.
#pragma once

namespace denoise {

// Releases an object with the library's own function: std::unique_ptr<X509, CDeleter<X509_free>>.
template <auto kRelease>
struct CDeleter {
  template <class T>
  void operator()(T* object) const {
    kRelease(object);
  }
};

}  // namespace denoise
