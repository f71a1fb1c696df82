#include "server/requests/prompt_validation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/pipeline/text_conditioning.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;

constexpr int64_t kMaxConditionedSide = 1 << 16;
constexpr double kMaxAestheticScore = 100;

denoised::v1::PromptTokens TokensOf(const Prompt& prompt) {
  denoised::v1::PromptTokens tokens;
  for (const TokenizedPrompt& text : prompt.texts) {
    tokens.set_tokens(std::max(tokens.tokens(), static_cast<int32_t>(text.num_tokens)));
    tokens.set_chunks(std::max(tokens.chunks(), static_cast<int32_t>(text.chunks.size())));
    tokens.set_truncated(tokens.truncated() || text.truncated);
  }
  return tokens;
}

// A prompt and what the second text encoder reads instead of it.
struct Texts {
  std::string_view field;
  std::string_view text;
  bool second_present;
  std::string_view second;
};

// Reads the prompts of one request.
class Reader {
 public:
  Reader(const GenerateRequest& request, const PromptReader& prompts, FieldViolations& violations)
      : prompts_(prompts),
        syntax_(request.prompt_syntax() != denoised::v1::PROMPT_SYNTAX_LITERAL),
        violations_(violations) {}

  // Null where something is in violation.
  std::shared_ptr<const Prompt> Read(const Texts& texts, int64_t clip_skip) const {
    std::shared_ptr<const Prompt> first = ReadOne(std::string(texts.field), texts.text, clip_skip);
    if (!texts.second_present) return first;
    const std::string field = absl::StrCat(std::string(texts.field), "_2");
    if (prompts_.num_texts() < 2) {
      violations_.Add(field, "must be absent: this model has one text encoder");
      return nullptr;
    }
    const std::shared_ptr<const Prompt> second = ReadOne(field, texts.second, clip_skip);
    if (first == nullptr || second == nullptr) return nullptr;
    return prompts_.Combine(*first, *second);
  }

 private:
  std::shared_ptr<const Prompt> ReadOne(const std::string& field, std::string_view text,
                                        int64_t clip_skip) const {
    absl::StatusOr<std::shared_ptr<const Prompt>> prompt =
        prompts_.Read({.text = text, .clip_skip = clip_skip, .syntax = syntax_});
    if (prompt.ok()) return *std::move(prompt);
    violations_.Add(field, std::string(prompt.status().message()));
    return nullptr;
  }

  const PromptReader& prompts_;
  const bool syntax_;
  FieldViolations& violations_;
};

int64_t Side(std::string_view name, int64_t pixels, FieldViolations& violations) {
  violations.CheckRange(absl::StrCat("size_conditioning.", std::string(name)), pixels, 0,
                        kMaxConditionedSide);
  return pixels;
}

double Score(std::string_view name, double score, FieldViolations& violations) {
  if (!(std::abs(score) <= kMaxAestheticScore)) {
    violations.Add(absl::StrCat("size_conditioning.", std::string(name)),
                   absl::StrCat("must be between -", kMaxAestheticScore, " and ",
                                kMaxAestheticScore, ", is ", score));
  }
  return score;
}

SizeConditions ResolveSizes(const GenerateRequest& request, const SampleShape& picture,
                            FieldViolations& violations) {
  const auto& asked = request.size_conditioning();
  const auto side = [&](std::string_view name, bool present, int64_t value, int64_t otherwise) {
    return Side(name, present ? value : otherwise, violations);
  };
  return {.original = {side("original_height", asked.has_original_height(), asked.original_height(),
                            picture.height),
                       side("original_width", asked.has_original_width(), asked.original_width(),
                            picture.width)},
          .crop = {Side("crop_top", asked.crop_top(), violations),
                   Side("crop_left", asked.crop_left(), violations)},
          .target = {side("target_height", asked.has_target_height(), asked.target_height(),
                          picture.height),
                     side("target_width", asked.has_target_width(), asked.target_width(),
                          picture.width)},
          .aesthetic_score =
              Score("aesthetic_score", asked.has_aesthetic_score() ? asked.aesthetic_score() : 6,
                    violations)};
}

SizeConditions NegativeSizes(const GenerateRequest& request, SizeConditions sizes,
                             FieldViolations& violations) {
  const auto& asked = request.size_conditioning();
  // As the library's pipelines that begin with a picture.
  if (request.start().has_image() || request.has_inpainting()) sizes.crop = {0, 0};
  sizes.aesthetic_score = Score(
      "negative_aesthetic_score",
      asked.has_negative_aesthetic_score() ? asked.negative_aesthetic_score() : 2.5, violations);
  return sizes;
}

// How many numbers the network is told: sizes and crop with the size of the crop, or with a score.
constexpr int64_t kWithTarget = 6;

// What the model is not told must be absent.
void CheckIsTold(const GenerateRequest& request, const Model& model, FieldViolations& violations) {
  if (model.spec.guidance_embedding && request.has_negative_prompt()) {
    violations.Add("negative_prompt",
                   "must be absent: this model reads the guidance scale itself and has no row for "
                   "it");
  }
  if (!request.has_size_conditioning()) return;
  if (model.spec.num_time_ids == 0) {
    violations.Add("size_conditioning", "must be absent: this model is told no sizes");
    return;
  }
  const auto& asked = request.size_conditioning();
  const auto refuse = [&](bool present, const char* field, const char* why) {
    if (present) violations.Add(absl::StrCat("size_conditioning.", field), why);
  };
  if (model.spec.num_time_ids == kWithTarget) {
    constexpr char kNoScore[] = "must be absent: this model is told no score";
    refuse(asked.has_aesthetic_score(), "aesthetic_score", kNoScore);
    refuse(asked.has_negative_aesthetic_score(), "negative_aesthetic_score", kNoScore);
  } else {
    constexpr char kNoTarget[] = "must be absent: this model is told a score instead";
    refuse(asked.has_target_height(), "target_height", kNoTarget);
    refuse(asked.has_target_width(), "target_width", kNoTarget);
  }
}

// Of a model that is told sizes.
denoised::v1::SizeConditioning ToProto(const SizeConditions& sizes, const SizeConditions& negative,
                                       int64_t num_time_ids) {
  const auto pixels = [](int64_t size) { return static_cast<int32_t>(size); };
  denoised::v1::SizeConditioning proto;
  proto.set_original_height(pixels(sizes.original[0]));
  proto.set_original_width(pixels(sizes.original[1]));
  proto.set_crop_top(pixels(sizes.crop[0]));
  proto.set_crop_left(pixels(sizes.crop[1]));
  if (num_time_ids == kWithTarget) {
    proto.set_target_height(pixels(sizes.target[0]));
    proto.set_target_width(pixels(sizes.target[1]));
  } else {
    proto.set_aesthetic_score(sizes.aesthetic_score);
    proto.set_negative_aesthetic_score(negative.aesthetic_score);
  }
  return proto;
}

}  // namespace

ResolvedPrompts ResolvePrompts(const GenerateRequest& request, const Model& model,
                               const SampleShape& picture, const Guidance& guidance,
                               AppliedAdapters adapters, FieldViolations& violations) {
  if (!request.has_prompt()) {
    violations.Add("prompt", "is required: this model makes images from text");
  }
  if (!denoised::v1::PromptSyntax_IsValid(request.prompt_syntax())) {
    violations.Add("prompt_syntax",
                   absl::StrCat("unknown value ", static_cast<int>(request.prompt_syntax())));
  }
  CheckIsTold(request, model, violations);
  violations.CheckRange("clip_skip", request.clip_skip(), 0, model.prompts->max_clip_skip());
  const Reader reader(request, *model.prompts, violations);
  TextRequest text{.prompt = reader.Read(
                       {"prompt", request.prompt(), request.has_prompt_2(), request.prompt_2()},
                       request.clip_skip()),
                   .negative = model.prompts->Absent(),
                   .guidance = guidance,
                   .sizes = ResolveSizes(request, picture, violations),
                   .adapters = std::move(adapters)};
  text.negative_sizes = NegativeSizes(request, text.sizes, violations);
  if (request.has_negative_prompt_2() && !request.has_negative_prompt()) {
    violations.Add("negative_prompt_2", "must be absent without a negative_prompt");
  }
  const bool has_negative = request.has_negative_prompt();
  if (has_negative) {
    text.negative = reader.Read({"negative_prompt", request.negative_prompt(),
                                 request.has_negative_prompt_2(), request.negative_prompt_2()},
                                0);
  }
  if (text.prompt == nullptr || text.negative == nullptr) return {};
  ResolvedPrompts resolved{.conditioning = MakeTextConditioning(text, model.spec),
                           .prompt = TokensOf(*text.prompt),
                           .negative_prompt = {},
                           .sizes = {}};
  if (has_negative && resolved.conditioning.unconditional != nullptr) {
    resolved.negative_prompt = TokensOf(*text.negative);
  }
  if (model.spec.num_time_ids > 0) {
    resolved.sizes = ToProto(text.sizes, text.negative_sizes, model.spec.num_time_ids);
  }
  return resolved;
}

void CheckNoPrompts(const GenerateRequest& request, FieldViolations& violations) {
  constexpr char kAbsent[] = "must be absent: this model takes no prompts";
  if (request.has_prompt()) violations.Add("prompt", kAbsent);
  if (request.has_negative_prompt()) violations.Add("negative_prompt", kAbsent);
  if (request.has_prompt_2()) violations.Add("prompt_2", kAbsent);
  if (request.has_negative_prompt_2()) violations.Add("negative_prompt_2", kAbsent);
  if (request.prompt_syntax() != denoised::v1::PROMPT_SYNTAX_UNSPECIFIED) {
    violations.Add("prompt_syntax", kAbsent);
  }
  if (request.clip_skip() != 0) violations.Add("clip_skip", kAbsent);
  if (request.has_size_conditioning()) violations.Add("size_conditioning", kAbsent);
}

}  // namespace denoise
