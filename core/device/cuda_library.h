// Opens LibTorch's CUDA half, which our programs do not link: the same program serves on machines
// with a GPU and on those without.
#pragma once

#include "absl/status/status.h"

namespace denoise {

// Opens libtorch_cuda.so from the folder that libtorch_cpu.so was loaded from, with what it needs,
// and then our module libdenoise_cuda.so, which makes the runtimes of CUDA devices
// (device_runtime.h). The module lies beside the program or in ../lib/denoised from there; without
// it CUDA devices work as any other, but slower.
//
// To be called before anything asks LibTorch whether there is CUDA, for it keeps its answer. The
// first call does the work, every later one returns the same status; threads may call it at once.
// A machine without an NVIDIA driver spends no time on it.
//
// FailedPrecondition says what is missing: the driver, CUDA's libraries, or a LibTorch with CUDA.
absl::Status LoadCuda();

}  // namespace denoise
