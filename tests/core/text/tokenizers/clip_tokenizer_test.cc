#include "core/text/tokenizers/clip_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/core/text/tokenizers/tokenizer_testing.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kStart = 49406, kEnd = 49407;

// The ids of the padded text, up to the end.
std::vector<int64_t> WithoutPadding(const ClipTokenizer& tokenizer, const std::string& text,
                                    bool& truncated) {
  const std::vector<int64_t> ids = tokenizer.Encode(text).value();
  PaddedIds padded = tokenizer.Pad(ids);
  truncated = padded.truncated;
  padded.ids.resize(std::min(ids.size(), tokenizer.max_tokens()) + 2);
  return padded.ids;
}

TEST(ClipTokenizer, GivesTheLibrarysIdsForThreeHundredTexts) {
  const auto tokenizer = LoadTokenizer(kClipFolder);
  const json texts = json::parse(ReadTestFile("tests/data/text/clip_tokens.json"));
  ASSERT_EQ(texts.size(), 300);
  for (const json& entry : texts) {
    bool truncated = false;
    EXPECT_EQ(WithoutPadding(*tokenizer, entry["text"], truncated),
              entry["ids"].get<std::vector<int64_t>>())
        << entry["text"];
    EXPECT_EQ(truncated, entry["truncated"]) << entry["text"];
  }
}

TEST(ClipTokenizer, PadsLikeEachPublishedLayout) {
  int compared = 0;
  for (const auto& folder : std::filesystem::directory_iterator("tests/data/pipelines")) {
    if (!folder.is_directory()) continue;
    const json expected = ReadTestJson(folder.path() / "expected.json");
    if (!expected.contains("text")) continue;
    for (const std::string name : {"tokenizer", "tokenizer_2"}) {
      if (!expected["text"][0].contains(name)) continue;
      const auto tokenizer = LoadTokenizer(folder.path() / name);
      for (const json& text : expected["text"]) {
        const auto ids = tokenizer->Encode(text["prompt"].get<std::string>());
        ASSERT_TRUE(ids.ok()) << ids.status();
        EXPECT_EQ(tokenizer->Pad(*ids).ids, text[name].get<std::vector<int64_t>>())
            << folder.path() << " " << name << " " << text["prompt"];
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 70);
}

TEST(ClipTokenizer, KnowsItsSpecialTokens) {
  const auto clip = LoadTokenizer(kClipFolder);
  EXPECT_EQ(clip->start_id(), kStart);
  EXPECT_EQ(clip->end_id(), kEnd);
  EXPECT_EQ(clip->pad_id(), kEnd);
  EXPECT_EQ(clip->max_length(), 77);
  EXPECT_EQ(clip->id_limit(), 49408);
  const auto padded_with_zero = LoadTokenizer("tests/data/pipelines/sd21-v-like/tokenizer");
  EXPECT_EQ(padded_with_zero->pad_id(), 0);
}

// What the library gives for these texts was read off it.
TEST(ClipTokenizer, FindsSpecialTokensByTheirFlags) {
  const auto clip = LoadTokenizer(kClipFolder);
  // The start is found in normalised text. The end is not, since it is also the padding, which is
  // named without flags.
  EXPECT_THAT(*clip->Encode("<|STARTOFTEXT|>!!"), ElementsAre(kStart, 748));
  EXPECT_THAT(*clip->Encode("<|ENDOFTEXT|>"), ElementsAre(27, 347, 40786, 4160, 91, 285));
  EXPECT_THAT(*clip->Encode("<|EndOfText|>?!"), ElementsAre(27, 347, 40786, 4160, 91, 285, 2835));
  EXPECT_THAT(*clip->Encode("a<|endoftext|>!!"), ElementsAre(320, kEnd, 748));
  // With another padding, the end's own flags count.
  const auto xl = LoadTokenizer("tests/data/pipelines/sdxl-like/tokenizer_2");
  EXPECT_THAT(*xl->Encode("<|EndOfText|>?!"), ElementsAre(813, 286, 0));
}

TEST(ClipTokenizer, KnowsStartAndEndWithoutAnyConfig) {
  const auto tokenizer = ClipTokenizer::Parse(SmallTokenizer()).value();
  EXPECT_THAT(*tokenizer->Encode("<|startoftext|><|endoftext|>"), ElementsAre(512, 513));
  EXPECT_THAT(Pieces(*tokenizer, "<|ENDOFTEXT|>"),
              testing::Not(testing::Contains("<|endoftext|>")));
}

TEST(ClipTokenizer, TakesFlagsFromTheListOfAllTokens) {
  ClipTokenizerFiles files = SmallTokenizer();
  files.tokenizer_config = R"({"pad_token": "<|endoftext|>", "added_tokens_decoder": {
      "513": {"content": "<|endoftext|>", "normalized": true, "special": true}}})";
  EXPECT_THAT(*ClipTokenizer::Parse(files).value()->Encode("<|ENDOFTEXT|>"), ElementsAre(513));
}

TEST(ClipTokenizer, ReadsAPaddingTokenWithinWords) {
  const auto xl = LoadTokenizer("tests/data/pipelines/sdxl-like/tokenizer_2");
  EXPECT_THAT(*xl->Encode("!!! b"), ElementsAre(0, 0, 0, 321));
  const auto first = LoadTokenizer("tests/data/pipelines/sd15-like/tokenizer");
  EXPECT_THAT(*first->Encode("!!! b"), ElementsAre(995, 321));
}

TEST(ClipTokenizer, ReadsCharactersThatOnlyUnicodeTellsApart) {
  const auto clip = LoadTokenizer(kClipFolder);
  const auto same = [&](const char* a, const char* b) {
    EXPECT_EQ(*clip->Encode(a), *clip->Encode(b)) << a << " " << b;
  };
  same("caf\u00e9", "cafe\u0301");            // composed and not
  same("a\u3000b\u00a0c\u2028d", "a b c d");  // white space
  same("\u0130", "i\u0307");                  // the one lower case of two characters
  same("\u03a3", "\u03c3");                   // no final sigma
  same("\u212b", "\u00e5");                   // a singleton
  EXPECT_NE(*clip->Encode("a\u200bb"), *clip->Encode("a b"));
  EXPECT_NE(*clip->Encode("a\x1c"
                          "b"),
            *clip->Encode("a b"));
  // Marks in any order have one canonical order.
  same("a\u0323\u0301", "a\u0301\u0323");
}

TEST(ClipTokenizer, ReadsTheFormThatHasOneFileOnly) {
  ClipTokenizerFiles files = ReadTokenizerFolder("tests/data/pipelines/lcm-like/tokenizer");
  ASSERT_FALSE(files.vocab.has_value());
  const auto one_file = ClipTokenizer::Parse(files).value();
  const auto two_files = LoadTokenizer("tests/data/pipelines/sd15-like/tokenizer");
  for (const char* text : {"a photo of a cat's hat, 1999", "<|ENDOFTEXT|>", "<|STARTOFTEXT|>x"}) {
    EXPECT_EQ(*one_file->Encode(text), *two_files->Encode(text)) << text;
  }
  // Merges are pairs there. Older files have strings.
  json tokenizer = json::parse(*files.tokenizer);
  for (json& merge : tokenizer["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  files.tokenizer = tokenizer.dump();
  EXPECT_EQ(*ClipTokenizer::Parse(files).value()->Encode("astronaut"),
            *one_file->Encode("astronaut"));
}

TEST(ClipTokenizer, MergesTheMostWantedPairFirst) {
  const auto tokenizer = ClipTokenizer::Parse(SmallTokenizer({"bc", "ab", "abc</w>", "bc</w>"},
                                                             "b c\na b\na bc</w>\nb c</w>\n"))
                             .value();
  EXPECT_THAT(Pieces(*tokenizer, "abc"), ElementsAre("ab", "c</w>"));
  EXPECT_THAT(Pieces(*tokenizer, "abcd"), ElementsAre("a", "bc", "d</w>"));
  EXPECT_THAT(Pieces(*tokenizer, "bc"), ElementsAre("bc</w>"));
}

TEST(ClipTokenizer, TakesWhiteSpaceAndWholeWordsByTheFlags) {
  ClipTokenizerFiles files = SmallTokenizer({"<x>", "<y>", "ok"});
  files.tokenizer_config = R"({"added_tokens_decoder": {
      "514": {"content": "<x>", "lstrip": true, "rstrip": true, "special": true},
      "516": {"content": "ok", "single_word": true, "normalized": false},
      "515": {"content": "<y>", "normalized": true},
      "600": {"content": "<new>", "special": true}}})";
  const auto tokenizer = ClipTokenizer::Parse(files).value();
  EXPECT_THAT(Pieces(*tokenizer, "a <x> b"), ElementsAre("a</w>", "<x>", "b</w>"));
  EXPECT_THAT(Pieces(*tokenizer, "<X>"), testing::Not(testing::Contains("<x>")));
  EXPECT_THAT(Pieces(*tokenizer, "<Y>"), ElementsAre("<y>"));
  EXPECT_THAT(Pieces(*tokenizer, "ok, oks"), ElementsAre("ok", ",</w>", "o", "k", "s</w>"));
  EXPECT_THAT(*tokenizer->Encode("<new>"), ElementsAre(600));
  EXPECT_EQ(tokenizer->id_limit(), 601);
}

TEST(ClipTokenizer, RefusesTextThatIsNone) {
  const auto tokenizer = ClipTokenizer::Parse(SmallTokenizer()).value();
  const auto error = [&](std::string_view text, size_t max_bytes) {
    const auto ids = tokenizer->Encode(text, max_bytes);
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(ids.status().message());
  };
  EXPECT_EQ(error("abc\xff", 100), "is not valid UTF-8 at byte 3");
  EXPECT_EQ(error("\xed\xa0\x80", 100), "is not valid UTF-8 at byte 0");  // a surrogate
  EXPECT_EQ(error("\xe2\x82", 100), "is not valid UTF-8 at byte 0");
  EXPECT_EQ(error("abcd", 3), "has 4 bytes, more than the maximum of 3");
  EXPECT_THAT(*tokenizer->Encode(""), IsEmpty());
}

// Quadratic algorithms would take minutes for any of these.
TEST(ClipTokenizer, TakesLongTextsInLinearTime) {
  const auto tokenizer = LoadTokenizer(kClipFolder);
  constexpr size_t kBytes = size_t{1} << 20;
  std::string marks = "a";
  while (marks.size() < kBytes) marks += "\u0301\u0323";  // each pair in the wrong order
  std::string mentions;
  while (mentions.size() < kBytes) mentions += "<|endoftext|";
  for (const std::string& text :
       {std::string(kBytes, 'a'), std::string(kBytes, '\''), std::string(kBytes, '<'),
        std::string(kBytes, ' '), marks, mentions}) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(tokenizer->Encode(text, 2 * kBytes).ok());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(seconds.count(), 10) << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace denoise
