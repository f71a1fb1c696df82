// Whole runs of small latent models, from prompt to pixels: what the Python library makes of the
// same folders, prompts and seeds.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/diffusion/denoising_loop.h"
#include "core/diffusion/evaluation_graph.h"
#include "core/image/image.h"
#include "core/pipeline/adapter_file.h"
#include "core/pipeline/begin.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/text_conditioning.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr char kRoot[] = "tests/data/pipelines/";
constexpr double kTolerance = 1e-3;

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file) << path;
  return std::move(text).str();
}

// [C, H, W] in [-1, 1].
at::Tensor ReadPicture(const std::string& path, int channels, int height, int width) {
  const auto values = DecodeSample(ReadText(path), 1 << 20, channels, height, width);
  EXPECT_TRUE(values.ok()) << values.status();
  return at::tensor(*values).view({channels, height, width});
}

// "latents: torch.randn(1, 4, 16, 16), seed 10, taken as they are".
at::Tensor StatedLatents(const std::string& statement, const SampleShape& shape) {
  constexpr std::string_view kSeed = ", seed ";
  const size_t at = statement.find(kSeed);
  EXPECT_NE(at, std::string::npos) << statement;
  return NoiseSource(std::stoul(statement.substr(at + kSeed.size()))).Draw(shape.sizes());
}

// A folder, loaded, and what the library makes of it.
class Reference {
 public:
  // With the weights of `single_file`, if it is not empty, in place of the folder's.
  explicit Reference(const std::string& name, const std::string& single_file = "",
                     double tolerance = kTolerance)
      : folder_(kRoot + name), tolerance_(tolerance) {
    std::string text = ReadText(folder_ + "/expected.json");
    // Python's JSON has infinities; this one is the default of its key.
    constexpr std::string_view kInfinite = "-Infinity";
    for (size_t at = text.find(kInfinite); at != std::string::npos; at = text.find(kInfinite)) {
      text.replace(at, kInfinite.size(), "null");
    }
    expected = Json::parse(text);
    const auto parsed = single_file.empty()
                            ? ParsedPipeline::Open(folder_)
                            : ParsedPipeline::OpenSingleFile(kRoot + single_file, folder_);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    if (!parsed.ok()) return;
    description = parsed->description();
    auto loaded = parsed->Load({});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    if (loaded.ok()) pipeline = *std::move(loaded);
  }

  // Runs an entry of expected.json, and compares what it keeps.
  void ExpectRun(const Json& run, const AppliedAdapters& adapters = {}) const;
  // The text, the call of the network and the run of an entry of `loras`.
  void ExpectAdapted(const Json& entry) const;

  Json expected;
  std::optional<PipelineDescription> description;
  Pipeline pipeline;

 private:
  std::shared_ptr<const SamplerPlan> Compile(const Json& run) const;
  Conditioning MakeConditioning(const Json& run, int64_t height, int64_t width,
                                const AppliedAdapters& adapters) const;
  void ExpectCall(const Json& call, const AppliedAdapters& adapters) const;
  ImageStart ImageOf(const Json& run, const SampleShape& shape) const;
  std::shared_ptr<const Prompt> Read(const Json& text, const Json& second, int64_t clip_skip) const;

  std::string folder_;
  double tolerance_;
};

std::shared_ptr<const SamplerPlan> Reference::Compile(const Json& run) const {
  SchedulerConfig scheduler = description->scheduler;
  if (run.contains("scheduler")) {
    const auto other = ParseSchedulerConfig(run["scheduler"].dump());
    EXPECT_TRUE(other.ok()) << other.status();
    scheduler = *other;
  }
  SamplerOptions sampler = scheduler.sampler;
  sampler.steps = run["num_inference_steps"];
  if (run.contains("eta")) sampler.eta = run["eta"];
  RunOptions options;
  if (run.contains("strength")) options.strength = run["strength"];
  if (run.contains("denoising_start")) options.denoising_start = run["denoising_start"];
  if (run.contains("denoising_end")) options.denoising_end = run["denoising_end"];
  const auto plan = CompilePlan(*Schedule::Create(scheduler.schedule), sampler, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? std::make_shared<const SamplerPlan>(*plan) : nullptr;
}

std::shared_ptr<const Prompt> Reference::Read(const Json& text, const Json& second,
                                              int64_t clip_skip) const {
  if (text.is_null()) return description->prompts->Absent();
  const std::string first = text;
  auto prompt = *description->prompts->Read({.text = first, .clip_skip = clip_skip});
  if (second.is_null()) return prompt;
  const std::string other = second;
  Prompt both = *prompt;
  both.texts.back() = (*description->prompts->Read({.text = other}))->texts.back();
  return std::make_shared<const Prompt>(std::move(both));
}

SizeConditions::Pair PairOf(const Json& run, const char* key, SizeConditions::Pair otherwise) {
  return run.contains(key) ? SizeConditions::Pair{run[key][0], run[key][1]} : otherwise;
}

Conditioning Reference::MakeConditioning(const Json& run, int64_t height, int64_t width,
                                         const AppliedAdapters& adapters) const {
  if (description->prompts == nullptr) return {};
  const auto text = [&](const char* key) { return run.contains(key) ? run[key] : Json(); };
  const SizeConditions::Pair size = {height, width};
  TextRequest request{.prompt = Read(text("prompt"), text("prompt_2"), run.value("clip_skip", 0)),
                      .negative = Read(text("negative_prompt"), text("negative_prompt_2"), 0),
                      .guidance = {.scale = run.value("guidance_scale", 1.0),
                                   .rescale = run.value("guidance_rescale", 0.0)},
                      .sizes = {.original = PairOf(run, "original_size", size),
                                .crop = PairOf(run, "crops_coords_top_left", {0, 0}),
                                .target = PairOf(run, "target_size", size),
                                .aesthetic_score = run.value("aesthetic_score", 6.0)}};
  request.adapters = adapters;
  request.negative_sizes = request.sizes;
  if (run.contains("image")) request.negative_sizes.crop = {0, 0};
  if (run.contains("negative_original_size") && run.contains("negative_target_size")) {
    request.negative_sizes = {.original = PairOf(run, "negative_original_size", size),
                              .crop = PairOf(run, "negative_crops_coords_top_left", {0, 0}),
                              .target = PairOf(run, "negative_target_size", size)};
  }
  request.negative_sizes.aesthetic_score = run.value("negative_aesthetic_score", 2.5);
  return MakeTextConditioning(request, description->network);
}

ImageStart Reference::ImageOf(const Json& run, const SampleShape& shape) const {
  ImageStart image{.shape = shape};
  if (!run.contains("image")) return image;
  if (run.contains("denoising_start")) {
    image.start = FrameStart{.frame = StatedLatents(run["image"], shape), .is_x = true};
    return image;
  }
  const int64_t factor = pipeline.codec->spec().factor;
  const auto read = [&](const char* key, int channels) {
    return ReadPicture(folder_ + "/" + run[key].get<std::string>(), channels,
                       static_cast<int>(shape.height * factor),
                       static_cast<int>(shape.width * factor));
  };
  const at::Tensor picture = read("image", 3);
  image.start = PictureStart{picture};
  if (run.contains("mask_image")) {
    image.inpainting = Inpainting{.picture = picture, .mask = (read("mask_image", 1) + 1) / 2};
  }
  return image;
}

void Reference::ExpectRun(const Json& run, const AppliedAdapters& adapters) const {
  const c10::InferenceMode inference;
  const std::shared_ptr<const SamplerPlan> plan = Compile(run);
  ASSERT_NE(plan, nullptr);
  std::vector<double> timesteps;
  for (const Evaluation& evaluation : plan->evaluations) timesteps.push_back(evaluation.timestep);
  ASSERT_EQ(timesteps.size(), run["timesteps"].size());
  for (size_t i = 0; i < timesteps.size(); ++i) {
    ASSERT_NEAR(timesteps[i], run["timesteps"][i].get<double>(), 1e-3) << "timestep " << i;
  }
  const std::vector<int64_t> latents = run["latents"]["shape"];
  const SampleShape shape = {latents[1], latents[2], latents[3]};
  const int64_t factor = pipeline.codec->spec().factor;
  const int64_t height = shape.height * factor, width = shape.width * factor;
  const Conditioning conditioning =
      EncodeConditioning(MakeConditioning(run, height, width, adapters), pipeline);
  const auto runtime = MakeDeviceRuntime(at::kCPU);
  std::vector<Trajectory> trajectories;
  for (const Json& seed : run["seeds"]) {
    ImageStart image = ImageOf(run, shape);
    image.seed = seed;
    trajectories.push_back(
        BeginTrajectory(plan, conditioning, std::move(image), pipeline, *runtime));
  }
  std::vector<Trajectory*> batch;
  for (Trajectory& trajectory : trajectories) batch.push_back(&trajectory);
  if (!adapters.empty()) {
    EXPECT_FALSE(SuitsGraph(batch));
  }
  DenoisingLoop loop(*pipeline.network, runtime);
  for (size_t i = 0; !trajectories.front().done(); ++i) {
    loop.Evaluate(batch);
    if (!run.contains("latents_abs_sum")) continue;
    const double expected = run["latents_abs_sum"][i];
    double sum = 0;
    for (const Trajectory& trajectory : trajectories) {
      sum += trajectory.x().abs().sum(at::kDouble).item<double>();
    }
    EXPECT_NEAR(sum, expected, tolerance_ * expected) << "evaluation " << i;
  }
  std::vector<at::Tensor> x;
  for (const Trajectory& trajectory : trajectories) x.push_back(trajectory.x());
  ExpectFingerprint(at::stack(x), run["latents"], tolerance_);
  const at::Tensor decoded = pipeline.codec->Decode(at::stack(x));
  ExpectFingerprint((decoded / 2 + 0.5).clamp(0, 1), run["pixels"], tolerance_);
}

// One row, told the text of a call.
void Reference::ExpectCall(const Json& call, const AppliedAdapters& adapters) const {
  Condition condition{.prompt = Read(call["prompts"][0], Json(), 0), .adapters = adapters};
  if (call.contains("time_ids")) {
    condition.time_ids = at::tensor(call["time_ids"].get<std::vector<double>>(), at::kFloat);
  }
  at::Generator generator = at::detail::createCPUGenerator(call["noise_seed"].get<uint64_t>());
  const std::vector<int64_t> shape = call["shape"];
  const NetworkInput input{
      .x = at::randn(shape, generator),
      .timesteps = at::tensor(call["timesteps"].get<std::vector<double>>(), at::kFloat),
      .conditions = StackConditions(
          pipeline.prompts->Encode({std::make_shared<const Condition>(std::move(condition))}))};
  ExpectFingerprint(pipeline.network->Forward(input), call["output"], kTolerance);
}

void Reference::ExpectAdapted(const Json& entry) const {
  const c10::InferenceMode inference;
  AppliedAdapters adapters;
  for (const Json& file : entry["adapters"]) {
    const auto read =
        ReadAdapter(folder_ + "/" + file["file"].get<std::string>(), *description->adapters);
    ASSERT_TRUE(read.ok()) << read.status();
    adapters.push_back({*read, file["scale"]});
  }
  const Condition told{.prompt = Read(entry["text"]["prompt"], Json(), 0), .adapters = adapters};
  const SharedCondition text =
      pipeline.prompts->Encode({std::make_shared<const Condition>(told)}).front();
  ExpectFingerprint(text->text_states.unsqueeze(0), entry["text"]["states"], kTolerance);
  if (entry["text"].contains("pooled")) {
    ExpectFingerprint(text->pooled_text.unsqueeze(0), entry["text"]["pooled"], kTolerance);
  }
  ExpectCall(entry["unet"], adapters);
  ExpectRun(entry["run"], adapters);
}

std::vector<std::string> Folders() {
  return {"sd15-like", "sd21-v-like", "turbo-like",        "lcm-like",
          "tiny-vae",  "sdxl-like",   "sdxl-refiner-like", "sdxl-latent-statistics",
          "ldm-like",  "inpaint-9ch", "sdxl-inpaint-9ch"};
}

class PipelineReference : public testing::TestWithParam<std::string> {};

TEST_P(PipelineReference, PromptsBecomeTheSamePixels) {
  const Reference reference(GetParam());
  ASSERT_TRUE(reference.pipeline.network != nullptr);
  int runs = 0;
  for (const char* kind : {"runs", "samplers", "img2img", "inpaint"}) {
    if (!reference.expected.contains(kind)) continue;
    for (const Json& run : reference.expected[kind]) {
      SCOPED_TRACE(std::string(kind) + " " + std::to_string(runs) + " " +
                   run.value("sampler", std::string()));
      reference.ExpectRun(run);
      ++runs;
    }
  }
  EXPECT_GT(runs, 0);
}

TEST(PipelineReferenceAdapters, ChangeTextsCallsAndRuns) {
  for (const char* folder : {"sd15-like", "sdxl-like"}) {
    const Reference reference(folder);
    ASSERT_EQ(reference.expected["loras"].size(), 3);
    for (const Json& entry : reference.expected["loras"]) {
      SCOPED_TRACE(std::string(folder) + " " + entry["adapters"].dump());
      reference.ExpectAdapted(entry);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, PipelineReference, testing::ValuesIn(Folders()),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::erase(name, '-');
                           return name;
                         });

// The files hold float16. The library's numbers come of the same weights for 2.1, and of float32
// weights for the others: rounding those moves the numbers of a run by less than this, and a tensor
// in a wrong place moves them by more than 1e-2.
constexpr double kRoundedTolerance = 5e-3;

TEST(SingleFileReference, PromptsBecomeThePixelsOfTheFolder) {
  for (const auto& [name, tolerance] : {std::pair{"sd15-like", kRoundedTolerance},
                                        {"sd21-v-like", kTolerance},
                                        {"sdxl-like", kRoundedTolerance}}) {
    SCOPED_TRACE(name);
    const Reference reference(name, std::string(name) + ".safetensors", tolerance);
    ASSERT_TRUE(reference.pipeline.network != nullptr);
    reference.ExpectRun(reference.expected["runs"][0]);
  }
}

}  // namespace
}  // namespace denoise
