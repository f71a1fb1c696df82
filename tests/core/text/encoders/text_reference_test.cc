// What the Python library makes of prompts, in ten small checkpoints of the published layouts.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "core/text/encoders/prompt_states.h"
#include "tests/core/text/encoders/encoder_testing.h"
#include "tests/support/fingerprint.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kTolerance = 1e-4;

struct Encoder {
  std::shared_ptr<const ClipTokenizer> tokenizer;
  std::shared_ptr<const ClipTextEncoder> encoder;
};

class TextReference : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const fs::path folder = fs::path("tests/data/pipelines") / GetParam();
    for (const std::string suffix : {"", "_2"}) {
      const std::string encoder = folder / ("text_encoder" + suffix);
      if (!fs::exists(encoder)) continue;
      encoders_.push_back(
          {LoadTokenizer(folder / ("tokenizer" + suffix)), LoadTextEncoder(encoder)});
    }
    texts_ = ReadTestJson(folder / "expected.json")["text"];
    ASSERT_FALSE(texts_.empty());
    xl_ = texts_[0].contains("pooled");
  }

  // What the network is told of a prompt.
  PromptStates Encode(const std::string& prompt, int64_t clip_skip) const {
    const TextStateOptions options = xl_ ? TextStateOptions::StableDiffusionXl(clip_skip)
                                         : TextStateOptions::StableDiffusion(clip_skip);
    std::vector<at::Tensor> states;
    at::Tensor pooled;
    for (const Encoder& part : encoders_) {
      const TokenizedPrompt tokens = TokenizePrompt(*part.tokenizer, prompt).value();
      const PromptStates encoded = EncodePrompts(*part.encoder, {tokens}, options).front();
      states.push_back(encoded.states);
      pooled = encoded.pooled;
    }
    return {at::cat(states, 1).unsqueeze(0), pooled.defined() ? pooled.unsqueeze(0) : pooled};
  }

  const c10::InferenceMode inference_;
  std::vector<Encoder> encoders_;
  json texts_;
  bool xl_ = false;
};

TEST_P(TextReference, StatesAgreeWithTheLibrary) {
  for (const json& text : texts_) {
    SCOPED_TRACE(text["prompt"]);
    const PromptStates encoded = Encode(text["prompt"], 0);
    ExpectFingerprint(encoded.states, text["states"], kTolerance);
    if (xl_) ExpectFingerprint(encoded.pooled, text["pooled"], kTolerance);
    ExpectFingerprint(Encode(text["prompt"], 1).states, text["states_clip_skip_1"], kTolerance);
  }
}

TEST_P(TextReference, TextsAreTheSameBitsInAnyBatch) {
  for (const Encoder& part : encoders_) {
    std::vector<std::vector<int64_t>> ids;
    for (const json& text : texts_) {
      const std::string prompt = text["prompt"];
      ids.push_back(part.tokenizer->Pad(part.tokenizer->Encode(prompt).value()).ids);
    }
    const EncodedTexts together = part.encoder->Encode(ids);
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const EncodedTexts alone = part.encoder->Encode({ids[i]});
      EXPECT_TRUE(alone.states[0].equal(together.states[row])) << i;
      EXPECT_TRUE(alone.pooled[0].equal(together.pooled[row])) << i;
    }
  }
}

std::vector<std::string> Folders() {
  std::vector<std::string> folders;
  for (const auto& entry : fs::directory_iterator("tests/data/pipelines")) {
    const bool has_text =
        fs::exists(entry.path() / "text_encoder") || fs::exists(entry.path() / "text_encoder_2");
    if (has_text) folders.push_back(entry.path().filename());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

INSTANTIATE_TEST_SUITE_P(Folders, TextReference, testing::ValuesIn(Folders()),
                         [](const auto& folder) {
                           std::string name = folder.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(TextReferenceData, CoversEveryLayout) { EXPECT_GE(Folders().size(), 10); }

}  // namespace
}  // namespace denoise
