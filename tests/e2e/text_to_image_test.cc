// Text to image with the real server: the same pictures as the Python library, whoever shares the
// loop, and an answer for everything that cannot be served.
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/clients_at_once.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::json;
using testing::ElementsAre;

v1::GenerateRequest PromptRequest(const std::string& model, const std::string& prompt) {
  v1::GenerateRequest request;
  request.set_model(absl::StrCat("models/", model));
  request.set_prompt(prompt);
  request.set_seed(1);
  request.mutable_sampler()->set_steps(4);
  return request;
}

class TextToImageTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddPipeline("sd15-like")
        .AddPipeline("sdxl-like")
        .AddPipeline("sdxl-refiner-like")
        .AddPipeline("lcm-like")
        .AddPipeline("ldm-like")
        .AddPipeline("inpaint-9ch")
        .AddGuided();
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static Generation Run(const v1::GenerateRequest& request) {
    return Generate(server_->generation(), request);
  }

  static std::unique_ptr<ModelsFolder> models_;
  static std::unique_ptr<ServerProcess> server_;
};

std::unique_ptr<ModelsFolder> TextToImageTest::models_;
std::unique_ptr<ServerProcess> TextToImageTest::server_;

// What the Python library makes of a folder: an entry of its reference values.
Json ReferenceRun(const std::string& folder, const char* kind, int index) {
  const std::string text =
      ReadFile(absl::StrCat("tests/data/pipelines/", folder, "/expected.json"));
  return Json::parse(absl::StrReplaceAll(text, {{"-Infinity", "null"}}))[kind][index];
}

std::string ReferencePicture(const std::string& folder, const Json& name) {
  return ReadFile(absl::StrCat("tests/data/pipelines/", folder, "/", name.get<std::string>()));
}

// The request for such a run.
v1::GenerateRequest RequestOf(const std::string& folder, const Json& run) {
  v1::GenerateRequest request = PromptRequest(folder, run["prompt"]);
  if (run.contains("negative_prompt")) {
    request.set_negative_prompt(run["negative_prompt"].get<std::string>());
  }
  const std::vector<int64_t> shape = run["pixels"]["shape"];
  request.set_height(static_cast<int32_t>(shape[2]));
  request.set_width(static_cast<int32_t>(shape[3]));
  request.set_seed(run["seeds"][0]);
  request.mutable_sampler()->set_steps(run["num_inference_steps"]);
  request.mutable_guidance()->set_scale(run["guidance_scale"]);
  request.set_image_encoding(v1::ENCODING_RAW_FLOAT32);
  if (run.contains("mask_image")) {
    *request.mutable_inpainting()->mutable_picture()->mutable_data() =
        ReferencePicture(folder, run["image"]);
    *request.mutable_inpainting()->mutable_mask()->mutable_data() =
        ReferencePicture(folder, run["mask_image"]);
  }
  if (run.contains("image")) {
    v1::ImageStart& start = *request.mutable_start()->mutable_image();
    *start.mutable_picture()->mutable_data() = ReferencePicture(folder, run["image"]);
    start.set_strength(run["strength"]);
  }
  return request;
}

// Those of a run with adapters, which lie beside the model.
void AddAdapters(const Json& entry, v1::GenerateRequest& request) {
  if (!entry.contains("adapters")) return;
  for (const Json& adapter : entry["adapters"]) {
    const std::filesystem::path file = adapter["file"].get<std::string>();
    v1::AppliedAdapter& applied = *request.add_adapters();
    applied.set_name(absl::StrCat("adapters/", file.stem().string()));
    applied.set_scale(adapter["scale"]);
  }
}

TEST_F(TextToImageTest, PixelsAreThoseOfThePythonLibrary) {
  const std::tuple<const char*, const char*, int> runs[] = {
      {"sd15-like", "runs", 0},      {"sdxl-like", "runs", 0},    {"sd15-like", "img2img", 0},
      {"sdxl-like", "img2img", 1},   {"sd15-like", "inpaint", 1}, {"inpaint-9ch", "inpaint", 0},
      {"inpaint-9ch", "inpaint", 1}, {"sd15-like", "loras", 2},   {"sdxl-like", "loras", 1}};
  for (const auto& [folder, kind, index] : runs) {
    SCOPED_TRACE(absl::StrCat(folder, " ", kind, " ", index));
    const Json entry = ReferenceRun(folder, kind, index);
    const Json& run = entry.contains("run") ? entry["run"] : entry;
    v1::GenerateRequest request = RequestOf(folder, run);
    AddAdapters(entry, request);
    const Generation generation = Run(request);
    ASSERT_TRUE(generation.status.ok()) << generation.status.error_message();
    std::string pixels = generation.Images().at(0);
    const std::vector<int64_t> shape = run["pixels"]["shape"];
    ASSERT_EQ(pixels.size(), shape[1] * shape[2] * shape[3] * sizeof(float));
    const at::Tensor image = at::from_blob(pixels.data(), shape);
    ExpectFingerprint((image / 2 + 0.5).clamp(0, 1), run["pixels"], 1e-3);
  }
}

TEST_F(TextToImageTest, AcceptedSaysWhatThePromptBecame) {
  v1::GenerateRequest request = PromptRequest("sd15-like", "a (a:1.2) a");
  request.set_width(48);
  v1::Accepted accepted = Run(request).Of(v1::GenerateEvent::kAccepted).at(0).accepted();
  EXPECT_EQ(accepted.prompt().tokens(), 3);
  EXPECT_EQ(accepted.prompt().chunks(), 1);
  EXPECT_FALSE(accepted.prompt().truncated());
  EXPECT_FALSE(accepted.has_negative_prompt());
  EXPECT_EQ(accepted.guidance().scale(), 7.5) << "the family's default";
  EXPECT_EQ(accepted.height(), 32);
  EXPECT_EQ(accepted.width(), 48);

  EXPECT_EQ(accepted.prompt_syntax(), v1::PROMPT_SYNTAX_WEIGHTED);
  EXPECT_FALSE(accepted.has_size_conditioning());

  std::string words;
  for (int i = 0; i < 100; ++i) words += "a ";
  request.set_prompt(words);
  request.set_negative_prompt("a");
  accepted = Run(request).Of(v1::GenerateEvent::kAccepted).at(0).accepted();
  EXPECT_EQ(accepted.prompt().tokens(), 100);
  EXPECT_EQ(accepted.prompt().chunks(), 2);
  EXPECT_EQ(accepted.negative_prompt().tokens(), 1);
}

TEST_F(TextToImageTest, AcceptedSaysWhichSizesTheModelIsTold) {
  v1::GenerateRequest request = PromptRequest("sdxl-like", "a");
  request.mutable_size_conditioning()->set_crop_left(5);
  v1::SizeConditioning told =
      Run(request).Of(v1::GenerateEvent::kAccepted).at(0).accepted().size_conditioning();
  EXPECT_EQ(told.original_height(), 32);
  EXPECT_EQ(told.crop_left(), 5);
  EXPECT_EQ(told.target_width(), 32);
  EXPECT_FALSE(told.has_aesthetic_score());
  request = PromptRequest("sdxl-refiner-like", "a");
  told = Run(request).Of(v1::GenerateEvent::kAccepted).at(0).accepted().size_conditioning();
  EXPECT_EQ(told.aesthetic_score(), 6);
  EXPECT_EQ(told.negative_aesthetic_score(), 2.5);
  EXPECT_FALSE(told.has_target_width());
}

TEST_F(TextToImageTest, WhatAModelIsNotToldIsRefused) {
  const auto refused = [](const char* model, const std::function<void(v1::GenerateRequest&)>& add) {
    v1::GenerateRequest request = PromptRequest(model, "a");
    add(request);
    return ViolatedFields(Run(request).status);
  };
  EXPECT_THAT(refused("sd15-like", [](auto& r) { r.mutable_size_conditioning(); }),
              ElementsAre("size_conditioning"));
  EXPECT_THAT(
      refused("sdxl-like", [](auto& r) { r.mutable_size_conditioning()->set_aesthetic_score(5); }),
      ElementsAre("size_conditioning.aesthetic_score"));
  EXPECT_THAT(refused("sdxl-refiner-like",
                      [](auto& r) { r.mutable_size_conditioning()->set_target_width(64); }),
              ElementsAre("size_conditioning.target_width"));
  EXPECT_THAT(refused("lcm-like", [](auto& r) { r.set_negative_prompt("b"); }),
              ElementsAre("negative_prompt"));
}

TEST_F(TextToImageTest, WeightsCountUnlessThePromptIsLiteral) {
  const auto image = [](const char* prompt, v1::PromptSyntax syntax) {
    v1::GenerateRequest request = PromptRequest("sd15-like", prompt);
    request.set_prompt_syntax(syntax);
    return Run(request).Images().at(0);
  };
  const std::string plain = image("a red apple", v1::PROMPT_SYNTAX_UNSPECIFIED);
  EXPECT_EQ(image("a (red:1.0) apple", v1::PROMPT_SYNTAX_UNSPECIFIED), plain);
  EXPECT_NE(image("a (red:1.5) apple", v1::PROMPT_SYNTAX_UNSPECIFIED), plain);
  EXPECT_NE(image("a (red:1.0) apple", v1::PROMPT_SYNTAX_LITERAL), plain);
}

// Frames are pictures of the images' size; raw ones are x itself, from which a run continues.
TEST_F(TextToImageTest, FramesShowLatentsAndRawOnesContinue) {
  v1::GenerateRequest request = PromptRequest("sd15-like", "a fox");
  request.mutable_sampler()->set_sampler(v1::SAMPLER_DDIM);
  request.mutable_frames()->set_every_n_steps(2);
  request.mutable_frames()->add_kinds(v1::FRAME_KIND_X_T);
  const Generation shown = Run(request);
  ASSERT_TRUE(shown.status.ok()) << shown.status.error_message();
  ASSERT_EQ(shown.Of(v1::GenerateEvent::kFrame).size(), 2u);
  EXPECT_EQ(shown.Of(v1::GenerateEvent::kFrame)[0].frame().image().width(), 32);

  request.mutable_frames()->set_encoding(v1::ENCODING_RAW_FLOAT32);
  const Generation raw = Run(request);
  const v1::Frame frame = raw.Of(v1::GenerateEvent::kFrame).at(0).frame();
  EXPECT_EQ(frame.image().data().size(), 4 * 16 * 16 * sizeof(float));
  request.clear_frames();
  request.mutable_start()->mutable_frame()->set_sample(frame.image().data());
  request.mutable_start()->mutable_frame()->set_step(frame.step());
  const Generation continued = Run(request);
  ASSERT_TRUE(continued.status.ok()) << continued.status.error_message();
  EXPECT_EQ(continued.Images(), shown.Images());
}

struct Job {
  const char* prompt;
  const char* negative_prompt;
  const char* sampler;
  int steps;
  const char* guidance_scale;
  const char* width;
  std::vector<std::string> adapters = {};
};

const Job kJobs[] = {
    {"a red fox", "blurry", "ddim", 60, "5", "32", {"kohya-conv=0.8"}},
    {"two (old:1.4) clocks", "", "euler", 70, "7.5", "32"},
    {"a boat", "people, (text:1.2)", "dpmpp_2m", 50, "3", "48"},
    {"", "dark", "unipc", 80, "2", "32", {"pytorch_lora_weights"}},
    {"a [pale] moon over a very long sea", "", "plms", 55, "1", "48", {"pytorch_lora_weights=0.3"}},
    {"bread", "", "euler_a", 65, "4", "32"},
    {"a lighthouse at night, rain",
     "sun",
     "ddpm",
     60,
     "6",
     "48",
     {"kohya-conv=-1", "pytorch_lora_weights"}},
    {"eight cats", "", "dpmpp_sde", 40, "2.5", "32"},
};

std::vector<std::vector<std::string>> Clients() {
  std::vector<std::vector<std::string>> clients;
  for (const Job& job : kJobs) {
    clients.push_back({"--model", "sd15-like", "--prompt", job.prompt, "--negative-prompt",
                       job.negative_prompt, "--sampler", job.sampler, "--steps",
                       absl::StrCat(job.steps), "--guidance-scale", job.guidance_scale, "--width",
                       job.width, "--seed", absl::StrCat(job.steps)});
    for (const std::string& adapter : job.adapters) {
      clients.back().insert(clients.back().end(), {"--lora", adapter});
    }
  }
  return clients;
}

TEST_F(TextToImageTest, EightClientsAtOnceGetTheSameBytesAsEachAlone) {
  const std::vector<std::string> alone = RunClients(*server_, Clients(), 1);
  const WorkDone before = WorkDoneBy(*server_);
  const std::vector<std::string> together = RunClients(*server_, Clients(), std::size(kJobs));
  const WorkDone after = WorkDoneBy(*server_);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_TRUE(together[i] == alone[i]) << "job " << i << ", " << kJobs[i].sampler;
  }
  EXPECT_GT((after.trajectories - before.trajectories) / (after.evaluations - before.evaluations),
            1.3)
      << "the clients shared evaluations";
}

TEST_F(TextToImageTest, ModelsSayWhatTheyTake) {
  const ProcessResult text =
      RunDenoise({"models", "sd15-like", "--server", server_->address(), "--json"});
  const Json model = Json::parse(text.output);
  EXPECT_EQ(model["takes_prompts"], true);
  EXPECT_EQ(model["size_multiple"], 2);
  EXPECT_EQ(model["default_guidance_scale"], 7.5);
}

struct BadCase {
  const char* name;
  const char* field;
  std::function<void(v1::GenerateRequest&)> spoil;
};

TEST_F(TextToImageTest, BadRequestsNameTheirField) {
  const BadCase cases[] = {
      {"no prompt", "prompt", [](auto& r) { r.clear_prompt(); }},
      {"a prompt of 1 MB", "prompt", [](auto& r) { r.set_prompt(std::string(1 << 20, 'x')); }},
      {"a NUL", "prompt", [](auto& r) { r.set_prompt(std::string("a\0b", 3)); }},
      {"a huge weight", "prompt", [](auto& r) { r.set_prompt("(a:100)"); }},
      {"a NUL in the negative prompt", "negative_prompt",
       [](auto& r) { r.set_negative_prompt(std::string(1, '\0')); }},
      {"an unknown syntax", "prompt_syntax",
       [](auto& r) { r.set_prompt_syntax(static_cast<v1::PromptSyntax>(9)); }},
      {"a second prompt for one encoder", "prompt_2", [](auto& r) { r.set_prompt_2("b"); }},
      {"a negative clip_skip", "clip_skip", [](auto& r) { r.set_clip_skip(-1); }},
      {"all layers skipped", "clip_skip", [](auto& r) { r.set_clip_skip(1000); }},
      {"a width off the grid", "width", [](auto& r) { r.set_width(33); }},
      {"no width", "width", [](auto& r) { r.set_width(0); }},
      {"a negative height", "height", [](auto& r) { r.set_height(-32); }},
      {"a huge size", "height",
       [](auto& r) {
         r.set_height(16000);
         r.set_width(16000);
       }},
      {"a very wide image", "width", [](auto& r) { r.set_width(1 << 20); }},
      {"a second negative prompt alone", "negative_prompt_2",
       [](auto& r) { r.set_negative_prompt_2("b"); }},
      {"a class", "class_label", [](auto& r) { r.set_class_label(0); }},
  };
  for (const BadCase& bad : cases) {
    v1::GenerateRequest request = PromptRequest("sd15-like", "a");
    bad.spoil(request);
    const grpc::Status status = Run(request).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad.name;
    EXPECT_THAT(ViolatedFields(status), ElementsAre(bad.field)) << bad.name;
  }
  for (const char* model : {"ldm-like", "guided"}) {
    v1::GenerateRequest request = PromptRequest(model, "a");
    if (std::string(model) == "guided") request.set_class_label(0);
    EXPECT_THAT(ViolatedFields(Run(request).status), ElementsAre("prompt")) << model;
  }
  v1::GenerateRequest huge_crop = PromptRequest("sdxl-like", "a");
  huge_crop.mutable_size_conditioning()->set_crop_top(1 << 30);
  EXPECT_THAT(ViolatedFields(Run(huge_crop).status), ElementsAre("size_conditioning.crop_top"));
  EXPECT_TRUE(Run(PromptRequest("sd15-like", "")).status.ok()) << "an empty prompt is one";
}

}  // namespace
}  // namespace denoise
