#include "core/text/tokenizers/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "core/text/tokenizers/prompt_syntax.h"
#include "tests/core/text/tokenizers/tokenizer_testing.h"

namespace denoise {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct Part {
  std::string text;
  double weight = 1;
  bool after_break = false;

  bool operator==(const Part& other) const {
    return text == other.text && std::abs(weight - other.weight) < 1e-12 &&
           after_break == other.after_break;
  }
};
void PrintTo(const Part& part, std::ostream* out) {
  *out << '"' << part.text << "\" * " << part.weight << (part.after_break ? " after BREAK" : "");
}

std::vector<Part> Parse(std::string_view prompt) {
  const auto fragments = ParsePromptSyntax(prompt);
  EXPECT_TRUE(fragments.ok()) << fragments.status();
  std::vector<Part> parts;
  for (const PromptFragment& fragment : *fragments) {
    parts.push_back({fragment.text, fragment.weight, fragment.after_break});
  }
  return parts;
}

std::string SyntaxError(const std::string& prompt) {
  const auto fragments = ParsePromptSyntax(prompt);
  EXPECT_EQ(fragments.status().code(), absl::StatusCode::kInvalidArgument) << prompt;
  return std::string(fragments.status().message());
}

TEST(PromptSyntax, WeighsWhatIsInBrackets) {
  EXPECT_THAT(Parse("a (cat)"), ElementsAre(Part{"a "}, Part{"cat", 1.1}));
  EXPECT_THAT(Parse("((cat))"), ElementsAre(Part{"cat", 1.1 * 1.1}));
  EXPECT_THAT(Parse("[cat] dog"), ElementsAre(Part{"cat", 1 / 1.1}, Part{" dog"}));
  EXPECT_THAT(Parse("(cat:1.3)"), ElementsAre(Part{"cat", 1.3}));
  EXPECT_THAT(Parse("(cat: .5 )"), ElementsAre(Part{"cat", 0.5}));
  EXPECT_THAT(Parse("(cat:-1)"), ElementsAre(Part{"cat", -1}));
  EXPECT_THAT(Parse("(a (house:0.5) in:1.2) x"),
              ElementsAre(Part{"a ", 1.2}, Part{"house", 0.6}, Part{" in", 1.2}, Part{" x"}));
}

TEST(PromptSyntax, LeavesTextAloneThatIsNoSyntax) {
  EXPECT_THAT(Parse("plain"), ElementsAre(Part{"plain"}));
  EXPECT_THAT(Parse(""), IsEmpty());
  EXPECT_THAT(Parse("()"), IsEmpty());
  EXPECT_THAT(Parse("3:4) and ]"), ElementsAre(Part{"3:4) and ]"}));
  EXPECT_THAT(Parse("(wait:...)"), ElementsAre(Part{"wait:...", 1.1}));
  EXPECT_THAT(Parse("(at 3:45 o'clock)"), ElementsAre(Part{"at 3:45 o'clock", 1.1}));
  EXPECT_THAT(Parse(R"(smile \(happy\) \[x\] \\ \a)"),
              ElementsAre(Part{R"(smile (happy) [x] \ \a)"}));
}

TEST(PromptSyntax, WeighsTheRestAfterABracketThatIsNeverClosed) {
  EXPECT_THAT(Parse("a (cat"), ElementsAre(Part{"a "}, Part{"cat", 1.1}));
  EXPECT_THAT(Parse("[a (cat"), ElementsAre(Part{"a ", 1 / 1.1}, Part{"cat", 1}));
}

TEST(PromptSyntax, BreaksAtTheWordAlone) {
  EXPECT_THAT(Parse("a BREAK b"), ElementsAre(Part{"a "}, Part{" b", 1, true}));
  EXPECT_THAT(Parse("BREAKFAST, DAYBREAK, break"), ElementsAre(Part{"BREAKFAST, DAYBREAK, break"}));
  EXPECT_THAT(Parse("(a BREAK b:2)"), ElementsAre(Part{"a ", 2}, Part{" b", 2, true}));
  EXPECT_THAT(Parse("a BREAK (b)"), ElementsAre(Part{"a "}, Part{" ", 1, true}, Part{"b", 1.1}));
}

TEST(PromptSyntax, RefusesWeightsThatAreNone) {
  EXPECT_THAT(
      SyntaxError("(cat:1.2.3)"),
      HasSubstr("\"1.2.3\", which is not a number. Write \\( and \\) where brackets are text"));
  EXPECT_THAT(SyntaxError("(cat:11)"), HasSubstr("has a weight of 11; weights must be between"));
  EXPECT_THAT(SyntaxError("((cat:9):9)"), HasSubstr("has a weight of 81"));
  EXPECT_THAT(SyntaxError(std::string(65, '(')), HasSubstr("more than 64 brackets"));
  EXPECT_THAT(SyntaxError(std::string(30, '(') + "x"), HasSubstr("has a weight of"));
}

class PromptTest : public testing::Test {
 protected:
  TokenizedPrompt Tokenize(std::string_view prompt, PromptOptions options = {}) const {
    return TokenizePrompt(*tokenizer_, prompt, options).value();
  }
  // Ids, start, end and padding left out.
  static std::vector<int64_t> Tokens(const PromptChunk& chunk) {
    const auto end = std::find(chunk.ids.begin(), chunk.ids.end(), 49407);
    return {chunk.ids.begin() + 1, end};
  }
  // 'x' is one token.
  static std::string Words(size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += "x ";
    return text;
  }

  const std::shared_ptr<const ClipTokenizer> tokenizer_ = LoadTokenizer(kClipFolder);
};

TEST_F(PromptTest, GivesTheLibrarysIdsOfEveryPlainPrompt) {
  for (const auto& entry : ReadTestJson("tests/data/text/clip_tokens.json")) {
    const std::string text = entry["text"];
    if (text.find('\0') != std::string::npos) continue;
    const TokenizedPrompt prompt = Tokenize(text);
    ASSERT_THAT(prompt.chunks, SizeIs(1));
    auto expected = entry["ids"].get<std::vector<int64_t>>();
    expected.resize(77, 49407);
    EXPECT_EQ(prompt.chunks[0].ids, expected) << text;
    EXPECT_EQ(prompt.truncated, entry["truncated"]) << text;
    EXPECT_THAT(prompt.chunks[0].weights, AllOf(SizeIs(77), Each(1)));
    if (text.find_first_of("()[]\\") == std::string::npos &&
        text.find("BREAK") == std::string::npos) {
      EXPECT_EQ(Tokenize(text, {.syntax = true}).chunks[0].ids, expected) << text;
    }
  }
}

TEST_F(PromptTest, GivesEachTokenItsWeight) {
  const TokenizedPrompt prompt = Tokenize("a (red cat:1.5), [x]", {.syntax = true});
  ASSERT_THAT(prompt.chunks, SizeIs(1));
  const PromptChunk& chunk = prompt.chunks[0];
  EXPECT_EQ(prompt.num_tokens, 5);
  EXPECT_EQ(Tokens(chunk), *tokenizer_->Encode("a red cat, x"));
  const std::vector<float> first(chunk.weights.begin(), chunk.weights.begin() + 7);
  EXPECT_THAT(first, ElementsAre(1, 1, 1.5, 1.5, 1, testing::FloatNear(1 / 1.1f, 1e-6f), 1));
  EXPECT_THAT(std::vector<float>(chunk.weights.begin() + 7, chunk.weights.end()), Each(1));
}

TEST_F(PromptTest, ReadsSyntaxOnlyWhereAsked) {
  EXPECT_EQ(Tokens(Tokenize("(cat:1.5)").chunks[0]), *tokenizer_->Encode("(cat:1.5)"));
}

TEST_F(PromptTest, ContinuesLongPromptsInTheNextChunk) {
  const TokenizedPrompt exact = Tokenize(Words(75), {.max_chunks = 3});
  EXPECT_THAT(exact.chunks, SizeIs(1));
  EXPECT_FALSE(exact.truncated);
  const TokenizedPrompt long_one = Tokenize(Words(151), {.max_chunks = 3});
  ASSERT_THAT(long_one.chunks, SizeIs(3));
  EXPECT_THAT(Tokens(long_one.chunks[0]), SizeIs(75));
  EXPECT_THAT(Tokens(long_one.chunks[1]), SizeIs(75));
  EXPECT_THAT(Tokens(long_one.chunks[2]), SizeIs(1));
  EXPECT_EQ(long_one.num_tokens, 151);
  EXPECT_FALSE(long_one.truncated);
  const TokenizedPrompt too_long = Tokenize(Words(151), {.max_chunks = 2});
  EXPECT_THAT(too_long.chunks, SizeIs(2));
  EXPECT_EQ(too_long.num_tokens, 151);
  EXPECT_TRUE(too_long.truncated);
  EXPECT_THAT(Tokenize("", {.max_chunks = 3}).chunks, SizeIs(1));
}

TEST_F(PromptTest, StartsAChunkAtABreak) {
  const TokenizedPrompt prompt =
      Tokenize("BREAK a cat BREAK BREAK a dog", {.syntax = true, .max_chunks = 4});
  ASSERT_THAT(prompt.chunks, SizeIs(2));
  EXPECT_EQ(Tokens(prompt.chunks[0]), *tokenizer_->Encode("a cat"));
  EXPECT_EQ(Tokens(prompt.chunks[1]), *tokenizer_->Encode("a dog"));
}

TEST_F(PromptTest, ExtendsAShorterPromptByEmptyTexts) {
  TokenizedPrompt prompt = Tokenize("cat", {.max_chunks = 3});
  ExtendToChunks(*tokenizer_, 3, prompt);
  ASSERT_THAT(prompt.chunks, SizeIs(3));
  EXPECT_EQ(prompt.chunks[2].ids, Tokenize("").chunks[0].ids);
  EXPECT_THAT(prompt.chunks[2].weights, AllOf(SizeIs(77), Each(1)));
  ExtendToChunks(*tokenizer_, 1, prompt);
  EXPECT_THAT(prompt.chunks, SizeIs(3));
}

TEST_F(PromptTest, RefusesWhatIsNoTextBeforeItReadsSyntax) {
  const auto error = [&](std::string_view text, const PromptOptions& options) {
    const auto prompt = TokenizePrompt(*tokenizer_, text, options);
    EXPECT_EQ(prompt.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(prompt.status().message());
  };
  EXPECT_EQ(error(std::string_view("(a\0b", 4), {.syntax = true}),
            "holds a NUL character at byte 2");
  EXPECT_EQ(error("(a)\xff", {.syntax = true}), "is not valid UTF-8 at byte 3");
  EXPECT_EQ(error("(((((", {.syntax = true, .max_bytes = 4}),
            "has 5 bytes, more than the maximum of 4");
}

}  // namespace
}  // namespace denoise
