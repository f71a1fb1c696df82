// LibTorch carries a protobuf of its own, of another version than the one that gRPC and our
// messages use. Both are initialised when a program starts, and each must find only itself.
#include <ATen/core/Tensor.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/export.h>

#include <exception>
#include <string>
#include <string_view>

#include "denoised/v1/image_generation.pb.h"

namespace denoise {
namespace {

// An ONNX model with an empty graph, as LibTorch's protobuf reads it: ir_version 8, a graph named
// "g", and operators of version 13.
constexpr std::string_view kOnnxModel = "\x08\x08\x3a\x03\x12\x01g\x42\x02\x10\x0d";

void UseLibTorchsProtobuf() {
  EXPECT_NO_THROW(torch::jit::check_onnx_proto(std::string(kOnnxModel)));
  EXPECT_THROW(torch::jit::check_onnx_proto("\xff no message"), std::exception);
}

void UseOurProtobuf() {
  denoised::v1::GenerateRequest request;
  request.set_model("emoji-32");
  request.set_seed(7);
  denoised::v1::GenerateRequest read;
  ASSERT_TRUE(read.ParseFromString(request.SerializeAsString()));
  EXPECT_EQ(read.seed(), 7);
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(read, &json).ok());
  denoised::v1::GenerateRequest again;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &again).ok());
  EXPECT_EQ(again.model(), "emoji-32");
  EXPECT_FALSE(read.ParseFromString("\xff no message"));
}

TEST(TwoProtobufs, WorkInOneProcess) {
  UseOurProtobuf();
  UseLibTorchsProtobuf();
  UseOurProtobuf();
}

}  // namespace
}  // namespace denoise
