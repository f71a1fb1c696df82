// `denoise tokenize` as a process. It needs no server.
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/base/read_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr char kFolder[] = "tests/data/text/clip";

class CliTokenizeTest : public testing::Test {
 protected:
  static ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {DENOISE_BINARY, "tokenize"});
    return RunProcess(arguments, kPatience).value();
  }

  // With `input` as standard input.
  ProcessResult Feed(const std::string& input, const std::string& flags = "") {
    const std::string path = folder_.path() / "input";
    std::ofstream(path, std::ios::binary) << input;
    const std::string command = std::string(DENOISE_BINARY) + " tokenize --tokenizer " + kFolder +
                                " " + flags + " < '" + path + "'";
    return RunProcess({"/bin/sh", "-c", command}, kPatience).value();
  }

  TempDir folder_;
};

TEST_F(CliTokenizeTest, ShowsEachTokenWithItsPiece) {
  const ProcessResult result = Run({"--tokenizer", kFolder, "a Photo"});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  const std::vector<std::string> lines = absl::StrSplit(result.output, '\n');
  ASSERT_GE(lines.size(), 6);
  EXPECT_THAT(lines[1], testing::ContainsRegex("^0 +49406 +<.startoftext.>$"));
  EXPECT_THAT(lines[2], testing::ContainsRegex("^1 +320 +a</w>$"));
  EXPECT_THAT(lines[3], testing::ContainsRegex("^2 +1125 +photo</w>$"));
  EXPECT_THAT(lines[4], testing::ContainsRegex("^3 +49407 +<.endoftext.>$"));
  EXPECT_THAT(result.output, HasSubstr("2 tokens beside start and end"));
  EXPECT_THAT(result.output, testing::Not(HasSubstr("cut off")));
}

TEST_F(CliTokenizeTest, SaysThatALongTextIsCutOff) {
  std::string text;
  for (int i = 0; i < 80; ++i) text += "cat ";
  EXPECT_THAT(Run({"--tokenizer", kFolder, text}).output,
              HasSubstr("80 tokens beside start and end; the text encoder reads at most 75. The "
                        "rest is cut off."));
  const json line = json::parse(Run({"--tokenizer", kFolder, "--json", text}).output);
  EXPECT_THAT(line["ids"], SizeIs(77));
  EXPECT_EQ(line["ids"][76], 49407);
  EXPECT_EQ(line["truncated"], true);
}

TEST_F(CliTokenizeTest, PrintsJson) {
  const ProcessResult result = Run({"--tokenizer", kFolder, "--json", "a photo"});
  EXPECT_EQ(result.output,
            "{\"ids\":[49406,320,1125,49407],\"pieces\":[\"<|startoftext|>\",\"a</w>\","
            "\"photo</w>\",\"<|endoftext|>\"],\"truncated\":false}\n");
  const json empty = json::parse(Run({"--tokenizer", kFolder, "--json", ""}).output);
  EXPECT_EQ(empty["ids"], json({49406, 49407}));
}

TEST_F(CliTokenizeTest, AnswersEachLineOfStandardInput) {
  const json texts = json::parse(ReadFile("tests/data/text/clip_tokens.json", 1 << 20).value());
  std::string input;
  for (const json& entry : texts) input += entry["text"].dump(-1, ' ', true) + "\n";
  const ProcessResult result = Feed(input);
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  const std::vector<std::string> lines = absl::StrSplit(result.output, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), texts.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const json expected = {{"ids", texts[i]["ids"]}, {"truncated", texts[i]["truncated"]}};
    EXPECT_EQ(json::parse(lines[i]), expected) << texts[i]["text"];
  }
}

TEST_F(CliTokenizeTest, NamesTheLineThatIsWrong) {
  const std::pair<std::string, std::string> cases[] = {
      {"\"a\"\n5\n", "line 2: not a JSON string"},
      {"\"a\"\n\n", "line 2: not valid JSON"},
      {"\"a\"\n\"b\" \"c\"\n", "line 2: not valid JSON"},
      {"\"a\"\n\"\\ud800\"\n", "line 2: not valid JSON"},
      {"\"a\"\n\"" + std::string(70'000, 'x') + "\"\n", "line 2: the text has 70000 bytes"}};
  for (const auto& [input, error] : cases) {
    const ProcessResult result = Feed(input);
    EXPECT_EQ(result.exit_status.code, 2) << error;
    EXPECT_THAT(result.error, HasSubstr(error));
    EXPECT_THAT(result.output, HasSubstr("{\"ids\":[49406,320,49407],\"truncated\":false}\n"));
  }
  const ProcessResult with_json = Feed("5\n", "--json");
  EXPECT_THAT(json::parse(with_json.output)["error"]["message"], HasSubstr("line 1: "));
}

TEST_F(CliTokenizeTest, RefusesAFolderWithoutATokenizer) {
  const ProcessResult empty = Run({"--tokenizer", folder_.path(), "x"});
  EXPECT_EQ(empty.exit_status.code, 2);
  EXPECT_THAT(empty.error, HasSubstr("vocab.json: is missing, and there is no tokenizer.json"));
  EXPECT_THAT(empty.output, IsEmpty());
  const ProcessResult missing = Run({"--tokenizer", "/nowhere", "x"});
  EXPECT_EQ(missing.exit_status.code, 2);
  EXPECT_THAT(missing.error, HasSubstr("there is no folder /nowhere"));
  EXPECT_THAT(Run({"x"}).error, HasSubstr("--tokenizer"));
}

}  // namespace
}  // namespace denoise
