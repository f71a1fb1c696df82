#include "core/evaluation/inception_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <string>
#include <string_view>
#include <utility>

#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/safetensors.h"
#include "core/nn/weight_reader.h"

namespace denoise {
namespace {

constexpr int64_t kSide = 299;

using Block = InceptionBlockSpec;
using enum InceptionPool;

// 35 x 35.
Block BlockA(const char* name, int64_t pooled) {
  return {name,
          {{{{"branch1x1", 64}}},
           {{{"branch5x5_1", 48}, {"branch5x5_2", 64, 5, 5}}},
           {{{"branch3x3dbl_1", 64}, {"branch3x3dbl_2", 96, 3, 3}, {"branch3x3dbl_3", 96, 3, 3}}},
           {{{"branch_pool", pooled}}, {}, kAverage}}};
}

// Down to 17 x 17.
Block BlockB(const char* name) {
  return {name,
          {{{{"branch3x3", 384, 3, 3, 2, false}}},
           {{{"branch3x3dbl_1", 64},
             {"branch3x3dbl_2", 96, 3, 3},
             {"branch3x3dbl_3", 96, 3, 3, 2, false}}},
           {{}, {}, kMaxDownsample}}};
}

Block BlockC(const char* name, int64_t inner) {
  return {name,
          {{{{"branch1x1", 192}}},
           {{{"branch7x7_1", inner}, {"branch7x7_2", inner, 1, 7}, {"branch7x7_3", 192, 7, 1}}},
           {{{"branch7x7dbl_1", inner},
             {"branch7x7dbl_2", inner, 7, 1},
             {"branch7x7dbl_3", inner, 1, 7},
             {"branch7x7dbl_4", inner, 7, 1},
             {"branch7x7dbl_5", 192, 1, 7}}},
           {{{"branch_pool", 192}}, {}, kAverage}}};
}

// Down to 8 x 8.
Block BlockD(const char* name) {
  return {name,
          {{{{"branch3x3_1", 192}, {"branch3x3_2", 320, 3, 3, 2, false}}},
           {{{"branch7x7x3_1", 192},
             {"branch7x7x3_2", 192, 1, 7},
             {"branch7x7x3_3", 192, 7, 1},
             {"branch7x7x3_4", 192, 3, 3, 2, false}}},
           {{}, {}, kMaxDownsample}}};
}

Block BlockE(const char* name, InceptionPool pool) {
  return {name,
          {{{{"branch1x1", 320}}},
           {{{"branch3x3_1", 384}}, {{"branch3x3_2a", 384, 1, 3}, {"branch3x3_2b", 384, 3, 1}}},
           {{{"branch3x3dbl_1", 448}, {"branch3x3dbl_2", 384, 3, 3}},
            {{"branch3x3dbl_3a", 384, 1, 3}, {"branch3x3dbl_3b", 384, 3, 1}}},
           {{{"branch_pool", 192}}, {}, pool}}};
}

std::vector<Block> Architecture() {
  return {
      {"",
       {{{{"Conv2d_1a_3x3", 32, 3, 3, 2, false},
          {"Conv2d_2a_3x3", 32, 3, 3, 1, false},
          {"Conv2d_2b_3x3", 64, 3, 3}}}}},
      {"", {{{{"Conv2d_3b_1x1", 80}, {"Conv2d_4a_3x3", 192, 3, 3, 1, false}}, {}, kMaxDownsample}}},
      {"", {{{}, {}, kMaxDownsample}}},
      BlockA("Mixed_5b", 32),
      BlockA("Mixed_5c", 64),
      BlockA("Mixed_5d", 64),
      BlockB("Mixed_6a"),
      BlockC("Mixed_6b", 128),
      BlockC("Mixed_6c", 160),
      BlockC("Mixed_6d", 160),
      BlockC("Mixed_6e", 192),
      BlockD("Mixed_7a"),
      BlockE("Mixed_7b", kAverage),
      BlockE("Mixed_7c", kMax)};
}

bool IsIgnored(std::string_view name) {
  return name.starts_with("fc.") || name.starts_with("AuxLogits.") ||
         name.ends_with(".bn.num_batches_tracked");
}

absl::Status CheckFinite(const StateDict& tensors) {
  FieldViolations violations;
  for (const auto& [name, tensor] : tensors) {
    const bool is_variance = name.ends_with("running_var");
    if (!at::isfinite(tensor).all().item<bool>()) violations.Add(name, "is not finite");
    if (is_variance && (tensor < 0).any().item<bool>()) violations.Add(name, "is negative");
  }
  return violations.ToStatus();
}

template <class Function>
void ForEachConvolution(std::vector<InceptionBlock>& blocks, const Function& f) {
  for (InceptionBlock& block : blocks) {
    for (InceptionBranch& branch : block.branches) {
      for (InceptionConvolution& convolution : branch.convolutions) f(convolution);
      for (InceptionConvolution& convolution : branch.fork) f(convolution);
    }
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const InceptionFeatures>> InceptionFeatures::Load(
    const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  StateDict weights;
  FieldViolations violations;
  for (const auto& [name, entry] : file.header().tensors) {
    if (IsIgnored(name)) continue;
    absl::StatusOr<at::Tensor> tensor = file.Get(name);
    if (!tensor.ok()) {
      violations.Add(Escaped(name), std::string(tensor.status().message()));
      continue;
    }
    weights.emplace(name, *std::move(tensor));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return Create(weights);
}

absl::StatusOr<std::shared_ptr<const InceptionFeatures>> InceptionFeatures::Create(
    const StateDict& weights) {
  nn::WeightReader reader(weights, at::kCPU, at::kFloat);
  for (const auto& [name, tensor] : weights) {
    if (IsIgnored(name)) reader.Ignore(name);
  }
  std::vector<InceptionBlock> blocks;
  int64_t channels = 3;
  for (const InceptionBlockSpec& spec : Architecture()) {
    blocks.push_back(InceptionBlock::Load({reader, ""}, spec, channels));
    channels = blocks.back().out;
  }
  RETURN_IF_ERROR(reader.Finish());
  RETURN_IF_ERROR(CheckFinite(reader.taken()));
  return std::shared_ptr<const InceptionFeatures>(new InceptionFeatures(std::move(blocks)));
}

at::Tensor InceptionFeatures::Extract(const at::Tensor& pictures) const {
  at::Tensor x = at::upsample_bilinear2d(AsRgb(pictures), {kSide, kSide}, /*align_corners=*/false);
  for (const InceptionBlock& block : blocks_) x = block(x);
  return x.mean({2, 3});
}

std::shared_ptr<const FeatureExtractor> InceptionFeatures::To(at::Device device) const {
  std::vector<InceptionBlock> blocks = blocks_;
  ForEachConvolution(blocks, [device](InceptionConvolution& convolution) {
    convolution.weight = convolution.weight.to(device);
    convolution.bias = convolution.bias.to(device);
  });
  return std::shared_ptr<const InceptionFeatures>(new InceptionFeatures(std::move(blocks)));
}

}  // namespace denoise
