#include "core/device/cuda_library.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/device/device_runtime.h"

namespace denoise {
namespace {

// What dlopen says of a library that is not there begins with the name of the one that it lacks.
std::string LastDlError() {
  const char* error = dlerror();
  return error != nullptr ? error : "no reason given";
}

// Where the loader found the CPU half. Empty where it cannot say.
std::filesystem::path LibTorchFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

// Absent where the build had no CUDA headers.
absl::Status FindAndOpenModule() {
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const char* folder : {".", "../lib/denoised"}) {
    const std::filesystem::path path = program / folder / "libdenoise_cuda.so";
    if (std::filesystem::exists(path, ignored)) return OpenCudaModule(path);
  }
  return absl::NotFoundError(
      "libdenoise_cuda.so is neither beside the program nor in ../lib/denoised");
}

struct Loaded {
  absl::Status cuda;
  absl::Status module;
};

absl::Status OpenLibraries() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) == nullptr) {
    dlerror();
    return absl::FailedPreconditionError("this machine has no NVIDIA driver");
  }
  const std::filesystem::path library = LibTorchFolder() / "libtorch_cuda.so";
  std::error_code ignored;
  if (!std::filesystem::exists(library, ignored)) {
    return absl::FailedPreconditionError("this build of LibTorch has no CUDA");
  }
  // Global, so that what it registers finds the CPU half that is loaded already.
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "this machine has an NVIDIA driver, but not all of CUDA's libraries: ", LastDlError(),
        ". scripts/bootstrap --cuda fetches them"));
  }
  return absl::OkStatus();
}

Loaded Load() {
  if (absl::Status opened = OpenLibraries(); !opened.ok()) return {opened, opened};
  absl::Status module = FindAndOpenModule();  // before LibTorch is asked
  absl::Status cuda = at::hasCUDA()
                          ? absl::OkStatus()
                          : absl::FailedPreconditionError("CUDA finds no GPU that it can use");
  return {std::move(cuda), std::move(module)};
}

const Loaded& LoadOnce() {
  static const Loaded loaded = Load();
  return loaded;
}

}  // namespace

absl::Status LoadCuda() { return LoadOnce().cuda; }
absl::Status CudaModuleStatus() { return LoadOnce().module; }

absl::Status OpenCudaModule(const std::filesystem::path& path) {
  using Factory = DeviceRuntimeFactory (*)();
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) return absl::FailedPreconditionError(LastDlError());
  const auto factory = reinterpret_cast<Factory>(dlsym(module, "DenoiseCudaRuntimeFactory"));
  if (factory == nullptr) return absl::FailedPreconditionError(LastDlError());
  RegisterDeviceRuntime(at::DeviceType::CUDA, factory());
  return absl::OkStatus();
}

}  // namespace denoise
