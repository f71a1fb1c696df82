// The syntax that weighs parts of a prompt, as the widely used web interfaces read it. Internal to
// core/text/tokenizers. docs/prompts.md describes it.
//
//   (cat)       weight 1.1; ((cat)) 1.1 * 1.1, and so on
//   [cat]       weight 1 / 1.1
//   (cat:1.3)   weight 1.3
//   \( \) \[ \] \\   the character itself
//   BREAK       starts a new chunk
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// Weights are at most this in magnitude.
inline constexpr double kMaxPromptWeight = 10;
// Brackets that are open at one time.
inline constexpr size_t kMaxPromptDepth = 64;

struct PromptFragment {
  std::string text;
  double weight = 1;
  bool after_break = false;
};

// The parts of `prompt` in order; neighbours differ in weight, or a BREAK is between them. A
// bracket that is never closed weighs the rest of the prompt; one that closes nothing is text.
// InvalidArgument: a weight that is no number or too large, or too many open brackets. The message
// begins with a verb.
absl::StatusOr<std::vector<PromptFragment>> ParsePromptSyntax(std::string_view prompt);

}  // namespace denoise
