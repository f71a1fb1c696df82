#include "core/evaluation/inception_features.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/field_violations.h"
#include "core/io/safetensors.h"
#include "tests/core/evaluation/random_rows.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The network as it is described, convolution by convolution, with nothing folded. A run with no
// weights makes them up, so that shapes follow from what is computed.
class PlainInception {
 public:
  StateDict weights;

  at::Tensor operator()(at::Tensor x) {
    x = Conv("Conv2d_1a_3x3", x, 32, {3, 3}, 2, {0, 0});
    x = Conv("Conv2d_2a_3x3", x, 32, {3, 3}, 1, {0, 0});
    x = Conv("Conv2d_2b_3x3", x, 64, {3, 3}, 1, {1, 1});
    x = Halved(x);
    x = Conv("Conv2d_3b_1x1", x, 80, {1, 1}, 1, {0, 0});
    x = Conv("Conv2d_4a_3x3", x, 192, {3, 3}, 1, {0, 0});
    x = Halved(x);
    x = A("Mixed_5b.", x, 32);
    x = A("Mixed_5c.", x, 64);
    x = A("Mixed_5d.", x, 64);
    x = B("Mixed_6a.", x);
    x = C("Mixed_6b.", x, 128);
    x = C("Mixed_6c.", x, 160);
    x = C("Mixed_6d.", x, 160);
    x = C("Mixed_6e.", x, 192);
    x = D("Mixed_7a.", x);
    x = E("Mixed_7b.", x, Averaged(x));
    x = E("Mixed_7c.", x, at::max_pool2d(x, {3, 3}, {1, 1}, {1, 1}));
    return x.mean({2, 3});
  }

 private:
  using Pair = std::vector<int64_t>;

  static at::Tensor Halved(const at::Tensor& x) { return at::max_pool2d(x, {3, 3}, {2, 2}); }
  static at::Tensor Averaged(const at::Tensor& x) {
    return at::avg_pool2d(x, {3, 3}, {1, 1}, {1, 1}, false, /*count_include_pad=*/false);
  }

  at::Tensor Weight(const std::string& name, at::IntArrayRef shape, double scale, double offset) {
    at::Tensor& weight = weights[name];
    if (!weight.defined()) weight = at::randn(shape, generator_, at::kFloat) * scale + offset;
    return weight;
  }

  at::Tensor Conv(const std::string& name, const at::Tensor& x, int64_t out, const Pair& kernel,
                  int64_t stride, const Pair& padding) {
    const int64_t in = x.size(1);
    const double scale = std::sqrt(2.0 / static_cast<double>(in * kernel[0] * kernel[1]));
    const at::Tensor weight =
        Weight(name + ".conv.weight", {out, in, kernel[0], kernel[1]}, scale, 0);
    const at::Tensor y = at::conv2d(x, weight, {}, {stride, stride}, padding);
    return at::relu(at::batch_norm(y, Weight(name + ".bn.weight", {out}, 0.1, 1),
                                   Weight(name + ".bn.bias", {out}, 0.2, 0),
                                   Weight(name + ".bn.running_mean", {out}, 0.2, 0),
                                   Weight(name + ".bn.running_var", {out}, 0.1, 1).abs(),
                                   /*training=*/false, 0.1, /*eps=*/0.001, false));
  }
  at::Tensor One(const std::string& name, const at::Tensor& x, int64_t out) {
    return Conv(name, x, out, {1, 1}, 1, {0, 0});
  }
  at::Tensor Wide(const std::string& name, const at::Tensor& x, int64_t out, int64_t k) {
    return Conv(name, x, out, {1, k}, 1, {0, k / 2});
  }
  at::Tensor Tall(const std::string& name, const at::Tensor& x, int64_t out, int64_t k) {
    return Conv(name, x, out, {k, 1}, 1, {k / 2, 0});
  }
  at::Tensor Square(const std::string& name, const at::Tensor& x, int64_t out, int64_t k) {
    return Conv(name, x, out, {k, k}, 1, {k / 2, k / 2});
  }
  at::Tensor Down(const std::string& name, const at::Tensor& x, int64_t out) {
    return Conv(name, x, out, {3, 3}, 2, {0, 0});
  }

  at::Tensor A(const std::string& at, const at::Tensor& x, int64_t pooled) {
    const at::Tensor five = Square(at + "branch5x5_2", One(at + "branch5x5_1", x, 48), 64, 5);
    const at::Tensor once = Square(at + "branch3x3dbl_2", One(at + "branch3x3dbl_1", x, 64), 96, 3);
    return at::cat({One(at + "branch1x1", x, 64), five, Square(at + "branch3x3dbl_3", once, 96, 3),
                    One(at + "branch_pool", Averaged(x), pooled)},
                   1);
  }
  at::Tensor B(const std::string& at, const at::Tensor& x) {
    const at::Tensor once = Square(at + "branch3x3dbl_2", One(at + "branch3x3dbl_1", x, 64), 96, 3);
    return at::cat(
        {Down(at + "branch3x3", x, 384), Down(at + "branch3x3dbl_3", once, 96), Halved(x)}, 1);
  }
  at::Tensor C(const std::string& at, const at::Tensor& x, int64_t c) {
    at::Tensor seven = Wide(at + "branch7x7_2", One(at + "branch7x7_1", x, c), c, 7);
    seven = Tall(at + "branch7x7_3", seven, 192, 7);
    at::Tensor twice = Tall(at + "branch7x7dbl_2", One(at + "branch7x7dbl_1", x, c), c, 7);
    twice = Tall(at + "branch7x7dbl_4", Wide(at + "branch7x7dbl_3", twice, c, 7), c, 7);
    return at::cat(
        {One(at + "branch1x1", x, 192), seven, Wide(at + "branch7x7dbl_5", twice, 192, 7),
         One(at + "branch_pool", Averaged(x), 192)},
        1);
  }
  at::Tensor D(const std::string& at, const at::Tensor& x) {
    const at::Tensor three = Down(at + "branch3x3_2", One(at + "branch3x3_1", x, 192), 320);
    at::Tensor seven = Wide(at + "branch7x7x3_2", One(at + "branch7x7x3_1", x, 192), 192, 7);
    seven = Down(at + "branch7x7x3_4", Tall(at + "branch7x7x3_3", seven, 192, 7), 192);
    return at::cat({three, seven, Halved(x)}, 1);
  }
  at::Tensor E(const std::string& at, const at::Tensor& x, const at::Tensor& pooled) {
    const at::Tensor three = One(at + "branch3x3_1", x, 384);
    const at::Tensor twice =
        Square(at + "branch3x3dbl_2", One(at + "branch3x3dbl_1", x, 448), 384, 3);
    return at::cat(
        {One(at + "branch1x1", x, 320), Wide(at + "branch3x3_2a", three, 384, 3),
         Tall(at + "branch3x3_2b", three, 384, 3), Wide(at + "branch3x3dbl_3a", twice, 384, 3),
         Tall(at + "branch3x3dbl_3b", twice, 384, 3), One(at + "branch_pool", pooled, 192)},
        1);
  }

  at::Generator generator_ = at::detail::createCPUGenerator(1);
};

// One network with random weights for all tests.
struct Reference {
  PlainInception network;
  at::Tensor pictures;  // [2, 3, 40, 56]
  at::Tensor features;  // [2, 2048]

  Reference() {
    const c10::InferenceMode inference;
    at::Generator generator = at::detail::createCPUGenerator(2);
    pictures = at::rand({2, 3, 40, 56}, generator, at::kFloat) * 2 - 1;
    features = network(at::upsample_bilinear2d(pictures, {299, 299}, false));
    for (auto& [name, weight] : network.weights) {
      if (name.ends_with("running_var")) weight = weight.abs();
    }
  }
};

const Reference& TheReference() {
  static const Reference reference;
  return reference;
}

std::vector<FieldViolation> Violations(const StateDict& weights) {
  return GetFieldViolations(InceptionFeatures::Create(weights).status());
}

TEST(InceptionFeatures, MatchTheNetworkWithoutFolding) {
  const c10::InferenceMode inference;
  const auto features = InceptionFeatures::Create(TheReference().network.weights);
  ASSERT_TRUE(features.ok()) << features.status();
  const at::Tensor extracted = (*features)->Extract(TheReference().pictures);
  ASSERT_THAT(extracted.sizes(), ElementsAre(2, 2048));
  const at::Tensor& expected = TheReference().features;
  const double size = expected.std().item<double>();
  EXPECT_GT(size, 1e-3);  // not all the same
  EXPECT_LT((extracted - expected).abs().max().item<double>(), 1e-4 * size);
}

TEST(InceptionFeatures, HaveTheTensorsOfTheArchitecture) {
  // 94 convolutions, and 21,785,568 weights with those of the normalisation.
  int64_t parameters = 0;
  for (const auto& [name, weight] : TheReference().network.weights) {
    if (name.find("running") == std::string::npos) parameters += weight.numel();
  }
  EXPECT_EQ(TheReference().network.weights.size(), 94u * 5);
  EXPECT_EQ(parameters, 21785568);
}

TEST(InceptionFeatures, ComeFromAFileWithoutItsClassifier) {
  const c10::InferenceMode inference;
  StateDict weights = TheReference().network.weights;
  weights["fc.weight"] = at::zeros({1008, 2});
  weights["fc.bias"] = at::zeros({1008});
  weights["AuxLogits.conv0.conv.weight"] = at::zeros({2});
  weights["Conv2d_1a_3x3.bn.num_batches_tracked"] = at::zeros({1});
  const TempDir folder;
  ASSERT_TRUE(WriteSafetensors(folder.path() / "inception.safetensors", weights).ok());
  const auto features = InceptionFeatures::Load(folder.path() / "inception.safetensors");
  ASSERT_TRUE(features.ok()) << features.status();
  const at::Tensor gray = TheReference().pictures.narrow(1, 0, 1);
  EXPECT_THAT((*features)->Extract(gray).sizes(), ElementsAre(2, 2048));
}

TEST(InceptionFeatures, NameEveryTensorThatDoesNotFit) {
  StateDict weights = TheReference().network.weights;
  weights.erase("Mixed_5b.branch1x1.conv.weight");
  weights["Mixed_7c.branch3x3_2a.conv.weight"] = at::zeros({384, 384, 3, 1});
  weights["Mixed_7d.branch1x1.conv.weight"] = at::zeros({1});
  EXPECT_THAT(Violations(weights),
              ElementsAre(FieldViolation{"Mixed_5b.branch1x1.conv.weight",
                                         "is missing, expected [64, 192, 1, 1]"},
                          FieldViolation{"Mixed_7c.branch3x3_2a.conv.weight",
                                         "has shape [384, 384, 3, 1], expected [384, 384, 1, 3]"},
                          FieldViolation{"Mixed_7d.branch1x1.conv.weight", "is unexpected"}));
}

TEST(InceptionFeatures, NameEveryTensorThatIsNotANumber) {
  StateDict weights = TheReference().network.weights;
  weights["Conv2d_2a_3x3.bn.bias"] =
      weights["Conv2d_2a_3x3.bn.bias"] + std::numeric_limits<float>::infinity();
  weights["Mixed_6a.branch3x3.bn.running_var"] = -weights["Mixed_6a.branch3x3.bn.running_var"];
  EXPECT_THAT(Violations(weights),
              ElementsAre(FieldViolation{"Conv2d_2a_3x3.bn.bias", "is not finite"},
                          FieldViolation{"Mixed_6a.branch3x3.bn.running_var", "is negative"}));
}

TEST(InceptionFeatures, ErrorsDoNotNameThePath) {
  const auto features = InceptionFeatures::Load("/nowhere/secret.safetensors");
  EXPECT_EQ(features.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(features.status().message()), testing::Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace denoise
