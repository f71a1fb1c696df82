// Folders that are broken, or made to break the reader.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_violations.h"
#include "tests/core/text/tokenizers/tokenizer_testing.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// The first violation, as "field: description".
std::string Refusal(const ClipTokenizerFiles& files) {
  const auto tokenizer = ClipTokenizer::Parse(files);
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << tokenizer.status();
  const std::vector<FieldViolation> violations = GetFieldViolations(tokenizer.status());
  EXPECT_FALSE(violations.empty()) << tokenizer.status();
  if (violations.empty()) return "";
  return violations.front().field + ": " + violations.front().description;
}

ClipTokenizerFiles WithVocabulary(const json& vocabulary) {
  ClipTokenizerFiles files = SmallTokenizer();
  files.vocab = vocabulary.dump();
  return files;
}

ClipTokenizerFiles WithMerges(const std::string& merges) {
  ClipTokenizerFiles files = SmallTokenizer({"ab", "b</w>x"});
  files.merges = merges;
  return files;
}

ClipTokenizerFiles WithConfig(const std::string& config) {
  ClipTokenizerFiles files = SmallTokenizer();
  files.tokenizer_config = config;
  return files;
}

// A tokenizer.json of the small vocabulary.
json OneFile() {
  return {{"model",
           {{"type", "BPE"},
            {"end_of_word_suffix", "</w>"},
            {"vocab", ByteVocabulary()},
            {"merges", json::array()}}},
          {"added_tokens", json::array()}};
}

std::string RefusalOfOneFile(const json& tokenizer) {
  ClipTokenizerFiles files;
  files.tokenizer = tokenizer.dump();
  return Refusal(files);
}

TEST(TokenizerFiles, SayWhichFilesAreMissing) {
  EXPECT_THAT(Refusal({}), HasSubstr("vocab.json: is missing, and there is no tokenizer.json"));
  ClipTokenizerFiles files = SmallTokenizer();
  files.merges.reset();
  EXPECT_THAT(Refusal(files), HasSubstr("merges.txt: is missing"));
}

TEST(TokenizerFiles, RefuseAVocabularyThatIsNone) {
  EXPECT_THAT(Refusal(WithVocabulary(json::array({1}))),
              HasSubstr("vocab.json: not a JSON object"));
  EXPECT_THAT(Refusal(WithVocabulary(json::object())), HasSubstr("vocab.json: must be an object"));
  for (const json& id : {json("1"), json(-1), json(1.5), json(1 << 20), json(~uint64_t{0})}) {
    json vocabulary = ByteVocabulary();
    vocabulary["cat"] = id;
    EXPECT_THAT(Refusal(WithVocabulary(vocabulary)),
                HasSubstr("vocab.json: the id of \"cat\" must be an integer between 0 and"));
  }
  json twice = ByteVocabulary();
  twice["cat"] = 5;
  EXPECT_THAT(Refusal(WithVocabulary(twice)), HasSubstr("vocab.json: gives the id 5 to"));
  ClipTokenizerFiles broken = SmallTokenizer();
  broken.vocab = "{\"a\": ";
  EXPECT_THAT(Refusal(broken), HasSubstr("vocab.json: not valid JSON at byte"));
}

TEST(TokenizerFiles, RefuseAVocabularyThatLacksAByte) {
  json vocabulary = ByteVocabulary();
  vocabulary.erase("q</w>");
  EXPECT_EQ(Refusal(WithVocabulary(vocabulary)), "vocab: the vocabulary lacks the byte \"q</w>\"");
}

TEST(TokenizerFiles, RefuseAVocabularyThatLacksASpecialToken) {
  json vocabulary = ByteVocabulary();
  vocabulary.erase("<|endoftext|>");
  EXPECT_THAT(Refusal(WithVocabulary(vocabulary)),
              HasSubstr("eos_token: \"<|endoftext|>\" is not in the vocabulary"));
  EXPECT_THAT(Refusal(WithConfig(R"({"pad_token": "<pad>"})")),
              HasSubstr("pad_token: \"<pad>\" is not in the vocabulary"));
}

TEST(TokenizerFiles, RefuseMergesThatAreNone) {
  EXPECT_THAT(Refusal(WithMerges("a b\na\n")), HasSubstr("merges.txt: line 2: must be two pieces"));
  EXPECT_THAT(Refusal(WithMerges("a b c\n")), HasSubstr("merges.txt: line 1: must be two pieces"));
  EXPECT_THAT(Refusal(WithMerges("\na b\n")), HasSubstr("merges.txt: line 1: must be two pieces"));
  EXPECT_EQ(Refusal(WithMerges("a b\nx y\n")),
            "merges[1]: the vocabulary lacks the merged piece \"xy\"");
  EXPECT_EQ(Refusal(WithMerges("ax b\n")), "merges[0]: the vocabulary lacks the piece \"ax\"");
  EXPECT_EQ(Refusal(WithMerges("a b\na b\n")),
            "merges[1]: merges \"a\" and \"b\", like an earlier line");
  // Line ends of Windows, and empty lines at the end, are no errors.
  EXPECT_TRUE(ClipTokenizer::Parse(WithMerges("#version: 0.2\r\na b\r\n\r\n")).ok());
}

TEST(TokenizerFiles, RefuseOtherKindsOfTokenizer) {
  json tokenizer = OneFile();
  tokenizer["model"]["type"] = "Unigram";
  EXPECT_THAT(RefusalOfOneFile(tokenizer), HasSubstr("tokenizer.json: model.type: must be BPE"));
  tokenizer = OneFile();
  tokenizer["model"]["end_of_word_suffix"] = "";
  EXPECT_THAT(RefusalOfOneFile(tokenizer), HasSubstr("model.end_of_word_suffix: must be </w>"));
  tokenizer = OneFile();
  tokenizer["model"]["merges"] = json::array({json::array({"a"})});
  EXPECT_THAT(RefusalOfOneFile(tokenizer), HasSubstr("model.merges[0]: must be two pieces"));
  tokenizer = OneFile();
  tokenizer.erase("model");
  EXPECT_THAT(RefusalOfOneFile(tokenizer), HasSubstr("tokenizer.json: model: must be an object"));
  EXPECT_THAT(Refusal(WithConfig(R"({"tokenizer_class": "T5Tokenizer"})")),
              HasSubstr("tokenizer_config.json: tokenizer_class: must be CLIPTokenizer"));
}

TEST(TokenizerFiles, RefuseAddedTokensThatContradictTheVocabulary) {
  json tokenizer = OneFile();
  tokenizer["added_tokens"] = {{{"id", 3}, {"content", "<|endoftext|>"}}};
  EXPECT_THAT(RefusalOfOneFile(tokenizer),
              HasSubstr("the id 3 of \"<|endoftext|>\" contradicts the vocabulary"));
  tokenizer["added_tokens"] = {{{"content", "x"}}};
  EXPECT_THAT(RefusalOfOneFile(tokenizer), HasSubstr("added_tokens[0]: must have an id"));
  EXPECT_THAT(Refusal(WithConfig(R"({"added_tokens_decoder": {"x": "y"}})")),
              HasSubstr("added_tokens_decoder.x: must be an id"));
  EXPECT_THAT(Refusal(WithConfig(R"({"added_tokens_decoder": {"600": {"content": ""}}})")),
              HasSubstr("must have 1 to 256 bytes"));
  EXPECT_THAT(Refusal(WithConfig(R"({"bos_token": {"content": 3}})")),
              HasSubstr("tokenizer_config.json: bos_token.content: must be a string"));
}

TEST(TokenizerFiles, ReadTheLengthOfTexts) {
  const auto length = [](const std::string& config) {
    return ClipTokenizer::Parse(WithConfig(config)).value()->max_length();
  };
  EXPECT_EQ(length("{}"), 77);
  EXPECT_EQ(length(R"({"model_max_length": 40})"), 40);
  EXPECT_EQ(length(R"({"model_max_length": 1000000000000000019884624838656})"), 77);
  EXPECT_THAT(Refusal(WithConfig(R"({"model_max_length": 2})")),
              HasSubstr("tokenizer_config.json: model_max_length: must be an integer between 3"));
}

TEST(TokenizerFiles, LetTheMapOfSpecialTokensCountOverTheConfig) {
  ClipTokenizerFiles files = WithConfig(R"({"pad_token": "<|endoftext|>"})");
  files.special_tokens_map = R"({"pad_token": "!"})";
  EXPECT_EQ(ClipTokenizer::Parse(files).value()->pad_id(), '!');
  // Unless the config lists all tokens with their ids.
  files.tokenizer_config =
      R"({"pad_token": "<|endoftext|>", "added_tokens_decoder": {"513": {"content": "<|endoftext|>"}}})";
  EXPECT_EQ(ClipTokenizer::Parse(files).value()->pad_id(), 513);
}

TEST(TokenizerFiles, AddTokensOfTheOlderFile) {
  ClipTokenizerFiles files = SmallTokenizer();
  files.added_tokens = R"({"<cat-toy>": 514})";
  const auto tokenizer = ClipTokenizer::Parse(files).value();
  EXPECT_THAT(Pieces(*tokenizer, "a <cat-toy>"), testing::ElementsAre("a</w>", "<cat-toy>"));
  EXPECT_EQ(tokenizer->id_limit(), 515);
}

}  // namespace
}  // namespace denoise
