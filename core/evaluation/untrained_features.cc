#include "core/evaluation/untrained_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/std.h>

#include <cmath>
#include <cstdint>

namespace denoise {
namespace {

constexpr int64_t kPixelFeaturesSide = 16;

constexpr int64_t kRandomConvolutionSide = 64;
constexpr int kStages = 4;
constexpr int64_t kFilters = 24;
constexpr int64_t kKernel = 3;
constexpr double kFilterNorm = 1.7;
constexpr uint64_t kSeed = 0;

// SplitMix64 (Steele et al. 2014). Its arithmetic is exact, so the weights are the same on every
// machine, which at::randn does not guarantee.
class UniformSource {
 public:
  explicit UniformSource(uint64_t seed) : state_(seed) {}

  double Next() {  // in [-1, 1)
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
  }

 private:
  uint64_t state_;
};

void FillFilter(UniformSource& source, float* filter, int64_t size) {
  std::vector<double> weights;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < size; ++i) sum += weights.emplace_back(source.Next());
  for (double& weight : weights) {
    weight -= sum / static_cast<double>(size);
    squares += weight * weight;
  }
  for (double weight : weights) {
    *filter++ = static_cast<float>(weight * kFilterNorm / std::sqrt(squares));
  }
}

// [B, C, H, W] -> [B, 5 C]
at::Tensor Statistics(const at::Tensor& maps) {
  return at::cat({at::adaptive_avg_pool2d(maps, {2, 2}).flatten(1),
                  at::std(maps.flatten(2), at::OptionalIntArrayRef({2}), /*unbiased=*/false)},
                 1);
}

}  // namespace

at::Tensor PixelFeatures::Extract(const at::Tensor& pictures) const {
  return ShrinkPictures(pictures, kPixelFeaturesSide).flatten(1);
}

std::shared_ptr<const FeatureExtractor> PixelFeatures::To(at::Device) const {
  return std::make_shared<PixelFeatures>();
}

RandomConvolutionFeatures::RandomConvolutionFeatures(at::Device device) {
  UniformSource source(kSeed);
  int64_t in = 3;
  for (int stage = 0; stage < kStages; ++stage, in = kFilters) {
    const at::Tensor filters = at::empty({kFilters, in, kKernel, kKernel}, at::kFloat);
    const int64_t size = in * kKernel * kKernel;
    for (int64_t f = 0; f < kFilters; ++f) {
      FillFilter(source, filters.data_ptr<float>() + f * size, size);
    }
    filters_.push_back(filters.to(device));
  }
}

at::Tensor RandomConvolutionFeatures::Extract(const at::Tensor& pictures) const {
  at::Tensor maps = AsRgb(ShrinkPictures(pictures, kRandomConvolutionSide));
  std::vector<at::Tensor> features = {Statistics(maps)};
  for (const at::Tensor& filters : filters_) {
    maps = at::relu(at::conv2d(at::replication_pad2d(maps, {1, 1, 1, 1}), filters,
                               /*bias=*/{}, /*stride=*/2));
    features.push_back(Statistics(maps));
  }
  return at::cat(features, 1);
}

std::shared_ptr<const FeatureExtractor> RandomConvolutionFeatures::To(at::Device device) const {
  return std::make_shared<RandomConvolutionFeatures>(device);
}

}  // namespace denoise
