#include "core/text/tokenizers/prompt_syntax.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr double kRound = 1.1;
constexpr double kSquare = 1 / 1.1;
constexpr std::string_view kBreak = "BREAK";
constexpr std::string_view kEscapable = "()[]\\";
constexpr std::string_view kDigitsAndPoint = "0123456789.";
constexpr char kAdvice[] = ". Write \\( and \\) where brackets are text";

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// The text of a weight in ":1.3)", and what that takes of the prompt.
struct WeightText {
  std::string_view number;
  size_t size;
};

// What `text`, which begins with a colon, says of a weight.
std::optional<WeightText> FindWeight(std::string_view text) {
  size_t begin = 1;
  while (begin < text.size() && text[begin] == ' ') ++begin;
  size_t end = begin;
  if (end < text.size() && (text[end] == '+' || text[end] == '-')) ++end;
  bool has_digit = false;
  for (; end < text.size() && kDigitsAndPoint.find(text[end]) != std::string_view::npos; ++end) {
    has_digit = has_digit || text[end] != '.';
  }
  size_t close = end;
  while (close < text.size() && text[close] == ' ') ++close;
  if (!has_digit || close == text.size() || text[close] != ')') return std::nullopt;
  return WeightText{text.substr(begin, end - begin), close + 1};
}

class PromptParser {
 public:
  explicit PromptParser(std::string_view prompt) : prompt_(prompt) {}

  absl::StatusOr<std::vector<PromptFragment>> Parse() && {
    while (at_ < prompt_.size()) RETURN_IF_ERROR(Step());
    while (!round_.empty()) Close(round_, kRound);
    while (!square_.empty()) Close(square_, kSquare);
    return Merged();
  }

 private:
  absl::Status Step() {
    const std::string_view rest = prompt_.substr(at_);
    const char c = rest.front();
    if (c == '\\' && rest.size() > 1 && kEscapable.find(rest[1]) != std::string_view::npos) {
      Append(rest.substr(1, 1));
      ++at_;
      return absl::OkStatus();
    }
    if (c == '(' || c == '[') return Open(c == '(' ? round_ : square_);
    if (c == ':' && !round_.empty()) {
      if (const std::optional<WeightText> weight = FindWeight(rest)) return CloseWith(*weight);
    }
    if (c == ')' && !round_.empty()) {
      Close(round_, kRound);
      ++at_;
    } else if (c == ']' && !square_.empty()) {
      Close(square_, kSquare);
      ++at_;
    } else if (IsBreak(rest)) {
      StartFragment();
      fragments_.back().after_break = true;
      at_ += kBreak.size();
    } else {
      Append(rest.substr(0, 1));
    }
    return absl::OkStatus();
  }

  bool IsBreak(std::string_view rest) const {
    if (!rest.starts_with(kBreak)) return false;
    const bool within_word = at_ > 0 && IsWordByte(prompt_[at_ - 1]);
    const bool word_continues = rest.size() > kBreak.size() && IsWordByte(rest[kBreak.size()]);
    return !within_word && !word_continues;
  }

  void Append(std::string_view text) {
    fragments_.back().text += text;
    at_ += text.size();
  }

  void StartFragment() { fragments_.emplace_back(); }

  absl::Status Open(std::vector<size_t>& brackets) {
    if (round_.size() + square_.size() == kMaxPromptDepth) {
      return absl::InvalidArgumentError(absl::StrCat(
          "opens more than ", kMaxPromptDepth, " brackets without closing one, at byte ", at_));
    }
    StartFragment();
    brackets.push_back(fragments_.size() - 1);
    ++at_;
    return absl::OkStatus();
  }

  // Closes the innermost of `brackets`.
  void Close(std::vector<size_t>& brackets, double weight) {
    for (size_t i = brackets.back(); i < fragments_.size(); ++i) fragments_[i].weight *= weight;
    brackets.pop_back();
    StartFragment();
  }

  absl::Status CloseWith(const WeightText& text) {
    double weight = 0;
    if (!absl::SimpleAtod({text.number.data(), text.number.size()}, &weight)) {
      return absl::InvalidArgumentError(
          absl::StrCat("has the weight ", Quoted(text.number), ", which is not a number", kAdvice));
    }
    RETURN_IF_ERROR(CheckWeight(weight));
    Close(round_, weight);
    at_ += text.size;
    return absl::OkStatus();
  }

  static absl::Status CheckWeight(double weight) {
    if (std::abs(weight) <= kMaxPromptWeight) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("has a weight of ", weight, "; weights must be between ", -kMaxPromptWeight,
                     " and ", kMaxPromptWeight, " after brackets are multiplied", kAdvice));
  }

  absl::StatusOr<std::vector<PromptFragment>> Merged() {
    std::vector<PromptFragment> merged;
    bool after_break = false;
    for (PromptFragment& fragment : fragments_) {
      after_break = after_break || fragment.after_break;
      if (fragment.text.empty()) continue;
      RETURN_IF_ERROR(CheckWeight(fragment.weight));
      if (!merged.empty() && !after_break && merged.back().weight == fragment.weight) {
        merged.back().text += fragment.text;
      } else {
        fragment.after_break = after_break;
        merged.push_back(std::move(fragment));
      }
      after_break = false;
    }
    return merged;
  }

  const std::string_view prompt_;
  size_t at_ = 0;
  std::vector<PromptFragment> fragments_ = std::vector<PromptFragment>(1);
  std::vector<size_t> round_;  // fragments that follow open brackets, the innermost last
  std::vector<size_t> square_;
};

}  // namespace

absl::StatusOr<std::vector<PromptFragment>> ParsePromptSyntax(std::string_view prompt) {
  return PromptParser(prompt).Parse();
}

}  // namespace denoise
