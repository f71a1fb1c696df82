#include "core/diffusion/device_errors.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <functional>
#include <new>
#include <stdexcept>

#include "tests/core/device/cpu_runtime.h"
#include "tests/core/device/failing_runtime.h"

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

class CheckedRuntime : public FailingRuntime {
 public:
  explicit CheckedRuntime(std::function<void()> check) : check_(std::move(check)) {}
  void Check() override { check_(); }

 private:
  const std::function<void()> check_;
};

TEST(DeviceErrors, OnlyADeviceThatDoesNothingAnyMoreHasFailed) {
  EXPECT_TRUE(Works(*CpuRuntime()));
  CheckedRuntime full([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory"); });
  EXPECT_TRUE(Works(full));
  CheckedRuntime failed([] { TORCH_CHECK(false, "CUDA error: an illegal memory access"); });
  EXPECT_FALSE(Works(failed));
  FailingRuntime lost;
  EXPECT_TRUE(Works(lost));
  FailingRuntime::FailDevice();
  EXPECT_FALSE(Works(lost));
}

}  // namespace
}  // namespace denoise
