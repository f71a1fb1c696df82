#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/display/text.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/command_line/usage_error.h"
#include "core/json/strict_json.h"
#include "core/text/tokenizers/clip_tokenizer.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char kExamples[] = R"(  denoise tokenize --tokenizer sd15/tokenizer "a photo of a cat"
  denoise tokenize --tokenizer sd15/tokenizer --json "a photo of a cat"
  jq -c .prompt prompts.jsonl | denoise tokenize --tokenizer sd15/tokenizer
)";

// In JSON a character may take six bytes for one.
constexpr size_t kMaxLineBytes = 6 * kMaxTextBytes + 2;

struct TokenizeFlags {
  std::string tokenizer;  // a folder
  std::optional<std::string> text;
  bool json = false;
};

// A text as the text encoder reads it, without padding.
struct Tokens {
  std::vector<int64_t> ids;  // start and end included
  size_t count = 0;          // of the whole text, without start and end
  bool truncated = false;
};

// For CLI11: what is wrong with the path, or nothing.
std::string CheckFolder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? "" : "there is no folder " + path;
}

absl::StatusOr<std::shared_ptr<const ClipTokenizer>> LoadTokenizer(const std::string& folder) {
  ClipTokenizerFiles files;
  for (const ClipTokenizerFile& file : kClipTokenizerFiles) {
    const fs::path path = fs::path(folder) / file.name;
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) continue;
    ASSIGN_OR_RETURN(files.*file.text, ReadFile(path.string(), kMaxTokenizerFileBytes));
  }
  auto tokenizer = ClipTokenizer::Parse(files);
  if (tokenizer.ok()) return tokenizer;
  return absl::InvalidArgumentError(
      absl::StrCat("the folder ", folder,
                   " holds no tokenizer that can be used: ", tokenizer.status().message()));
}

absl::StatusOr<Tokens> Tokenize(const ClipTokenizer& tokenizer, const std::string& text) {
  const absl::StatusOr<std::vector<int64_t>> ids = tokenizer.Encode(text);
  if (!ids.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("the text ", ids.status().message()));
  }
  PaddedIds padded = tokenizer.Pad(*ids);
  padded.ids.resize(std::min(ids->size(), tokenizer.max_tokens()) + 2);
  return Tokens{std::move(padded.ids), ids->size(), padded.truncated};
}

std::string JsonText(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string PieceText(const ClipTokenizer& tokenizer, int64_t id) {
  return std::string(tokenizer.Piece(id));
}

void PrintJson(const ClipTokenizer& tokenizer, const Tokens& tokens) {
  Json pieces = Json::array();
  for (const int64_t id : tokens.ids) pieces.push_back(PieceText(tokenizer, id));
  const Json line = {{"ids", tokens.ids}, {"pieces", pieces}, {"truncated", tokens.truncated}};
  std::puts(JsonText(line).c_str());
}

void PrintTable(const ClipTokenizer& tokenizer, const Tokens& tokens) {
  std::vector<std::vector<std::string>> rows = {{"position", "id", "piece"}};
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    rows.push_back({absl::StrCat(i), absl::StrCat(tokens.ids[i]),
                    Printable(PieceText(tokenizer, tokens.ids[i]))});
  }
  std::puts(FormatTable(rows).c_str());
  std::printf("\n%s beside start and end; the text encoder reads at most %zu.%s\n",
              Plural(static_cast<int64_t>(tokens.count), "token").c_str(), tokenizer.max_tokens(),
              tokens.truncated ? " The rest is cut off." : "");
}

// The text in one line of standard input.
absl::StatusOr<std::string> ParseLine(const std::string& line) {
  ASSIGN_OR_RETURN(const nlohmann::json value, ParseStrictJson(line, {.max_bytes = kMaxLineBytes}));
  if (!value.is_string()) return absl::InvalidArgumentError("not a JSON string");
  return value.get<std::string>();
}

absl::Status TokenizeLine(const ClipTokenizer& tokenizer, const std::string& line) {
  ASSIGN_OR_RETURN(const std::string text, ParseLine(line));
  ASSIGN_OR_RETURN(const Tokens tokens, Tokenize(tokenizer, text));
  std::puts(JsonText({{"ids", tokens.ids}, {"truncated", tokens.truncated}}).c_str());
  return absl::OkStatus();
}

absl::Status TokenizeInput(const ClipTokenizer& tokenizer) {
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    const absl::Status status = TokenizeLine(tokenizer, line);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status TokenizeText(const ClipTokenizer& tokenizer, const std::string& text, bool json) {
  ASSIGN_OR_RETURN(const Tokens tokens, Tokenize(tokenizer, text));
  json ? PrintJson(tokenizer, tokens) : PrintTable(tokenizer, tokens);
  return absl::OkStatus();
}

ExitCode RunTokenize(const TokenizeFlags& flags) {
  const auto tokenizer = LoadTokenizer(flags.tokenizer);
  if (!tokenizer.ok()) return ReportError(tokenizer.status(), flags.json);
  const absl::Status status =
      flags.text ? TokenizeText(**tokenizer, *flags.text, flags.json) : TokenizeInput(**tokenizer);
  return status.ok() ? kExitOk : ReportError(status, flags.json);
}

}  // namespace

Command AddTokenizeCommand(CLI::App& app) {
  const auto flags = std::make_shared<TokenizeFlags>();
  app.add_option("text", flags->text,
                 "The text. Default: read JSON strings from standard input, one a line, and write "
                 "a line of JSON with ids and truncated for each")
      ->type_name(kFreeText);
  app.add_option("--tokenizer", flags->tokenizer,
                 "The folder of a CLIP tokenizer: vocab.json and merges.txt, or tokenizer.json")
      ->type_name("DIR")
      ->required()
      ->check(CLI::Validator(CheckFolder, ""));
  app.add_flag("--json", flags->json,
               "Print one line of JSON with ids, pieces and truncated, and nothing else");
  SetExamples(app, kExamples);
  return [flags] { return RunTokenize(*flags); };
}

}  // namespace denoise
