#include "core/diffusion/device_errors.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <functional>
#include <new>
#include <stdexcept>

namespace denoise {
namespace {

absl::StatusCode CodeOf(const std::function<void()>& fail) {
  return CatchDeviceErrors([&]() -> absl::Status {
           fail();
           return absl::OkStatus();
         })
      .code();
}

TEST(DeviceErrors, TellMemoryThatRanOutFromEverythingElse) {
  EXPECT_EQ(CodeOf([] {}), absl::StatusCode::kOk);
  for (const std::function<void()>& fail : std::vector<std::function<void()>>{
           [] { throw std::bad_alloc(); },
           [] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory"); },
           [] { TORCH_CHECK(false, "DefaultCPUAllocator: can't allocate memory"); },
           [] { TORCH_CHECK(false, "CUDA error: out of memory\nCompile with ..."); },
       }) {
    EXPECT_EQ(CodeOf(fail), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(CodeOf([] { TORCH_CHECK(false, "CUDA error: an illegal memory access"); }),
            absl::StatusCode::kInternal);
  EXPECT_EQ(CodeOf([] { throw std::runtime_error("on fire"); }), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace denoise
