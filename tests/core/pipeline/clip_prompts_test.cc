#include "core/pipeline/clip_prompts.h"

#include <gtest/gtest.h>

#include "core/io/model_folder.h"
#include "core/io/weights.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {
namespace {

constexpr char kModel[] = "tests/data/pipelines/sd15-like";

std::shared_ptr<const ClipTextEncoder> ReadEncoder() {
  const ModelFolder folder = ModelFolder::Open(kModel).value();
  const auto config =
      ParseClipTextConfig(folder.ReadText("text_encoder/config.json", 1 << 20).value());
  return ClipTextEncoder::Create(config.value(),
                                 OpenWeights(folder, "text_encoder/", "model").value().tensors)
      .value();
}

// The device without memory stands for an accelerator.
TEST(ClipPrompts, EncodersOnTheCpuStayThereAndWhatTheySayMoves) {
  const auto reader = ParsedPipeline::OpenConfigs(kModel)->description().prompts;
  const std::vector<SharedCondition> asked = {
      std::make_shared<const Condition>(Condition{.prompt = reader->Empty()})};
  const Placement network = {.device = at::kMeta, .dtype = at::kHalf};
  const auto encoder = ReadEncoder();
  const auto prompts = ClipPrompts({encoder}, TextStateOptions::StableDiffusion, network);
  EXPECT_EQ(prompts->Encode(asked)[0]->text_states.device(), at::kMeta);
  EXPECT_EQ(encoder.use_count(), 2);
  const auto replica = prompts->To(at::kMeta, at::kHalf);
  EXPECT_EQ(encoder.use_count(), 3) << "replicas share it";
  EXPECT_EQ(replica->Encode(asked)[0]->text_states.device(), at::kMeta);
}

TEST(TextDtypeOnCpu, IsWhatCpusComputeIn) {
  EXPECT_EQ(TextDtypeOnCpu(at::kHalf), at::kFloat);
  EXPECT_EQ(TextDtypeOnCpu(at::kBFloat16), at::kBFloat16);
  EXPECT_EQ(TextDtypeOnCpu(at::kFloat), at::kFloat);
}

}  // namespace
}  // namespace denoise
