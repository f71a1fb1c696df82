// Whole pipelines on the reference checkpoints: what the Python library makes from the same seeds.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/diffusion/sample.h"
#include "core/io/checkpoint.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/support/class_conditions.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr char kFolder[] = "tests/data/reference/unet/";

// A relative 1e-4, on sums of many values relative to their absolute sum.
void ExpectFingerprint(const at::Tensor& sample, const Json& expected) {
  const at::Tensor values = sample.to(at::kDouble).flatten().contiguous();
  const double* data = values.data_ptr<double>();
  double sum = 0, abs_sum = 0, cos_dot = 0;
  for (int64_t i = 0; i < values.numel(); ++i) {
    sum += data[i];
    abs_sum += std::abs(data[i]);
    cos_dot += data[i] * std::cos(0.1 * static_cast<double>(i));
  }
  const double tolerance = 1e-4 * abs_sum;
  EXPECT_NEAR(sum, expected["sum"], tolerance);
  EXPECT_NEAR(abs_sum, expected["abs_sum"], tolerance);
  EXPECT_NEAR(cos_dot, expected["cos_dot"], tolerance);
  const auto first = expected["first16"].get<std::vector<double>>();
  for (size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(data[i], first[i], 1e-3) << "value " << i;
}

std::vector<SampleRequest> Requests(const Json& pipeline) {
  std::vector<SampleRequest> requests;
  for (size_t i = 0; i < pipeline["image_seeds"].size(); ++i) {
    SampleRequest request{.seed = pipeline["image_seeds"][i], .conditioning = {}};
    if (!pipeline["class_labels"].is_null())
      request.conditioning.conditions = Classes({{pipeline["class_labels"][i].get<int64_t>()}});
    requests.push_back(request);
  }
  return requests;
}

SamplerKind KindOf(const std::string& library_class) {
  if (library_class == "DDPMScheduler") return SamplerKind::kDdpm;
  if (library_class == "DDIMScheduler") return SamplerKind::kDdim;
  if (library_class == "UniPCMultistepScheduler") return SamplerKind::kUniPc;
  EXPECT_EQ(library_class, "DPMSolverMultistepScheduler");
  return SamplerKind::kDpmSolverPlusPlus;
}

class ReferencePipelines : public testing::TestWithParam<std::string> {};

TEST_P(ReferencePipelines, GiveTheSameImagesForTheSameSeeds) {
  const std::string folder = kFolder + GetParam();
  const Json expected = Json::parse(std::ifstream(folder + "/expected.json"));
  const auto checkpoint = LoadCheckpoint(folder, {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_FALSE(expected["pipelines"].empty());
  for (const Json& pipeline : expected["pipelines"]) {
    SCOPED_TRACE(pipeline["sampler"].get<std::string>());
    SamplerOptions options =
        SwitchSampler(checkpoint->scheduler, KindOf(pipeline["library_class"]));
    options.steps = pipeline["num_inference_steps"];
    // The library was given the checkpoint's explicit keys only; the spacing was not one of them.
    options.timestep_spacing = ClassDefaults(options.sampler).timestep_spacing;
    const auto plan = CompilePlan(*Schedule::Create(checkpoint->scheduler.schedule), options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    std::vector<double> timesteps;
    for (const Evaluation& evaluation : plan->evaluations) timesteps.push_back(evaluation.timestep);
    EXPECT_EQ(timesteps, pipeline["timesteps"].get<std::vector<double>>());
    const at::Tensor sample = Sample(
        *checkpoint->network, std::make_shared<const SamplerPlan>(*plan), Requests(pipeline));
    ExpectFingerprint(sample, pipeline["final_sample"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, ReferencePipelines,
                         testing::Values("class-conditional-v", "gray-not-square", "learned-range",
                                         "resnet-resample", "root-layout-old-names"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace denoise
