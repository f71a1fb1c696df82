#include "core/device/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(Devices, AreParsed) {
  EXPECT_THAT(*ParseDevices("cpu"), testing::ElementsAre(at::Device(at::kCPU)));
  EXPECT_EQ(ParseDevices("auto")->size(), 1u);
}

TEST(Devices, ThatMakeNoSenseAreRefused) {
  for (const char* text : {"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu,cpu", "cpu,", ",cpu"}) {
    EXPECT_EQ(ParseDevices(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(ParseDevices("cuda:100").status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace denoise
