#include "core/device/cuda_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

TEST(CudaLibrary, AModuleThatCannotBeOpenedSaysWhy) {
  const TempDir folder;
  const std::filesystem::path path = folder.path() / "libdenoise_cuda.so";
  WriteFile(path, "no module");
  for (const std::filesystem::path& module : {path, folder.path() / "absent.so"}) {
    const absl::Status status = OpenCudaModule(module);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(module.filename().string()));
  }
}

TEST(CudaLibrary, WithoutCudaThereIsNoModule) {
  if (LoadCuda().ok()) GTEST_SKIP() << "this machine has CUDA";
  EXPECT_FALSE(CudaModuleStatus().ok());
}

}  // namespace
}  // namespace denoise
