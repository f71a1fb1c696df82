#include "core/nn/mapped_tensor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace denoise {

at::Tensor EmptyMapped(at::IntArrayRef sizes, at::ScalarType dtype) {
  constexpr size_t kMappedBytes = size_t{1} << 18;
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * c10::elementSize(dtype);
  if (bytes < kMappedBytes) return at::empty(sizes, dtype);
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return at::from_blob(
      memory, sizes, [bytes](void* mapped) { munmap(mapped, bytes); }, dtype);
}

}  // namespace denoise
