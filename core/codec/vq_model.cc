#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/argmin.h>
#include <ATen/ops/cat.h>

#include <algorithm>

#include "core/codec/models.h"

namespace denoise::codec {
namespace {

constexpr int64_t kMaxDistances = int64_t{16} << 20;  // 64 MiB in float32

}  // namespace

at::Tensor NearestCodes(const at::Tensor& latents, const at::Tensor& codebook) {
  const at::Tensor codes = codebook.to(at::kFloat);
  // |z - e|^2 without |z|^2, which is the same for every code.
  const at::Tensor norms = (codes * codes).sum(1);
  const int64_t piece = std::max<int64_t>(1, kMaxDistances / codes.size(0));
  return nn::RowWise(latents, [&](const at::Tensor& row) {
    const at::Tensor pixels = row.to(at::kFloat)
                                  .permute({0, 2, 3, 1})
                                  .reshape({-1, row.size(1)})
                                  .clone(at::MemoryFormat::Contiguous);
    std::vector<at::Tensor> nearest;
    for (int64_t first = 0; first < pixels.size(0); first += piece) {
      const int64_t count = std::min(piece, pixels.size(0) - first);
      const at::Tensor distances =
          at::addmm(norms, pixels.narrow(0, first, count), codes.t(), /*beta=*/1, /*alpha=*/-2);
      nearest.push_back(at::argmin(distances, 1));
    }
    return at::cat(nearest).view({1, row.size(2), row.size(3)});
  });
}

VQModel VQModel::Load(const nn::WeightScope& root, const VQModelConfig& config,
                      nn::KernelOptions options) {
  const int64_t channels = config.blocks.latent_channels, width = config.code_width;
  const auto pointwise = [&](const char* name, int64_t in, int64_t out) {
    return nn::Conv2d::Load(
        root / name, {.in = in, .out = out, .kernel = 1, .stride = 1, .padding = 0}, options);
  };
  const nn::Initial initial = {nn::Initial::Kind::kUniform,
                               1 / static_cast<double>(config.num_codes)};
  return {.encoder = Encoder::Load(root / "encoder", config.blocks, channels, options),
          .quant_conv = pointwise("quant_conv", channels, width),
          .codebook =
              (root / "quantize" / "embedding").Take("weight", {config.num_codes, width}, initial),
          .post_quant_conv = pointwise("post_quant_conv", width, channels),
          .decoder = Decoder::Load(root / "decoder", config.blocks, options)};
}

Distribution VQModel::Encode(const at::Tensor& pictures) const {
  return {.mean = quant_conv(encoder(pictures)), .deviation = {}};
}

at::Tensor VQModel::Decode(const at::Tensor& latents) const {
  const at::Tensor codes = NearestCodes(latents, codebook);
  const at::Tensor rounded = codebook.index_select(0, codes.flatten())
                                 .view({codes.size(0), codes.size(1), codes.size(2), -1})
                                 .permute({0, 3, 1, 2});
  return decoder(post_quant_conv(rounded));
}

}  // namespace denoise::codec
