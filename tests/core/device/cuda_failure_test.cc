// A GPU whose kernel has failed: it is found out, and what is still held of it can be let go.
#include <ATen/Context.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string_view>

#include "core/device/cuda_library.h"
#include "core/diffusion/device_errors.h"

namespace denoise {
namespace {

bool Throws(const std::function<void()>& function) {
  try {
    function();
    return false;
  } catch (const std::exception&) {
    return true;
  }
}

// The context is lost for the whole process, so this is one of its own, which ends here.
[[noreturn]] void LoseTheContext() {
  const auto expect = [](bool holds, std::string_view what) {
    if (holds) return;
    std::cerr << "not so: " << what << std::endl;
    std::_Exit(1);
  };
  const auto runtime = MakeDeviceRuntime(at::Device(at::kCUDA, 0));
  const auto memory = runtime->Memory();  // before LibTorch has made any tensor on the device
  expect(memory && memory->free_bytes > 0, "the memory of an unused device is known");
  expect(Works(*runtime), "the device works at first");
  at::Tensor host = runtime->HostTensor({4}, at::kFloat);
  host.fill_(1);
  at::Tensor values = runtime->Upload(host);
  expect(Throws([&] { at::index_select(values, 7, values); }), "a wrong call is refused");
  expect(Works(*runtime), "a device that refuses a wrong call works");
  const auto mark = runtime->Mark();
  const at::Tensor beyond = UploadCopy(at::full({1}, 1000, at::kLong), *runtime);
  expect(Throws([&] {
           at::index_select(values, 0, beyond);
           runtime->Mark()->Wait();
         }),
         "a kernel that reads beyond its input fails");
  expect(!Works(*runtime), "the device has failed");
  expect(!Works(*runtime), "the device has failed for good");
  expect(Throws([&] { mark->Wait(); }), "an old mark cannot be waited for");
  host.reset();  // LibTorch's pinned memory throws here
  values.reset();
  std::_Exit(0);
}

TEST(CudaFailure, ADeviceThatHasLostItsContextIsFoundOutAndLetGo) {
  if (!LoadCuda().ok() || at::getNumGPUs() == 0) GTEST_SKIP() << "no GPU here";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(LoseTheContext(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace denoise
