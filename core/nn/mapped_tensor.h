// Memory for weights that are on their way.
#pragma once

#include <ATen/core/Tensor.h>

namespace denoise {

// An uninitialised tensor on the CPU. Large ones are mappings of their own: layers replace the
// tensors that they are given by copies in another order, and in the heap, what they let go of
// would leave holes that nothing fits. Throws std::bad_alloc.
at::Tensor EmptyMapped(at::IntArrayRef sizes, at::ScalarType dtype);

}  // namespace denoise
