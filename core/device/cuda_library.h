// Opens LibTorch's CUDA half, which our programs do not link: the same program serves on machines
// with a GPU and on those without.
#pragma once

#include <filesystem>

#include "absl/status/status.h"

namespace denoise {

// Opens libtorch_cuda.so from the folder that libtorch_cpu.so was loaded from, with what it needs,
// and then our module libdenoise_cuda.so, which makes the runtimes of CUDA devices
// (device_runtime.h). The module lies beside the program or in ../lib/denoised from there; without
// it CUDA devices work as any other, but slower, and LoadCuda is OK: see CudaModuleStatus.
//
// To be called before anything asks LibTorch whether there is CUDA, for it keeps its answer. The
// first call does the work, every later one returns the same status; threads may call it at once.
// A machine without an NVIDIA driver spends no time on it.
//
// FailedPrecondition says what is missing: the driver, CUDA's libraries, or a LibTorch with CUDA.
absl::Status LoadCuda();

// Calls LoadCuda, and says whether it opened the module, too: the status of OpenCudaModule, NotFound
// where there is no module, or what kept LoadCuda from looking for it. For the log.
absl::Status CudaModuleStatus();

// Opens the module at `path`, as LoadCuda does, and registers the runtime that it makes.
// FailedPrecondition with the loader's reason.
absl::Status OpenCudaModule(const std::filesystem::path& path);

}  // namespace denoise
