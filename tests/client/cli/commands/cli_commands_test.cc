// The parts of commands that are functions.
#include <google/protobuf/descriptor.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/flags/field_words.h"
#include "client/cli/flags/generate_flags.h"
#include "core/base/field_violations.h"
#include "core/command_line/usage_error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> FilesIn(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(OutputFolder, MakesFoldersAndLeavesNoTemporaryFiles) {
  const TempDir temp;
  auto folder = OutputFolder::Open(temp.path() / "a" / "b");
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto file = folder->Write("frames/x.bin", "bytes");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->size_bytes, 5u);
  EXPECT_EQ(ReadFile(file->path), "bytes");
  const auto entries = fs::directory_iterator(temp.path() / "a" / "b" / "frames");
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(OutputFolder, ReplacesAFileWithoutTouchingWhoeverHasItOpen) {
  const TempDir temp;
  auto folder = OutputFolder::Open(temp.path());
  ASSERT_TRUE(folder->Write("x", "old").ok());
  fs::create_hard_link(temp.path() / "x", temp.path() / "kept");
  ASSERT_TRUE(folder->Write("x", "new").ok());
  EXPECT_EQ(ReadFile(temp.path() / "x"), "new");
  EXPECT_EQ(ReadFile(temp.path() / "kept"), "old");
}

TEST(OutputFolder, APrivateFileIsItsOwnersAlone) {
  const TempDir temp;
  const fs::path path = temp.path() / "token";
  WriteFile(path, "readable by all");
  ASSERT_TRUE(WritePrivateFile(path, "secret").ok());
  EXPECT_EQ(ReadFile(path), "secret");
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre("token"));
}

TEST(OutputFolder, AFileInTheWayIsAnErrorThatNamesIt) {
  const TempDir temp;
  auto folder = OutputFolder::Open(temp.path());
  fs::create_directories(temp.path() / "image-0.png" / "inner");
  const absl::Status status = folder->Write("image-0.png", "x").status();
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("image-0.png"));
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre(".denoise-run", "image-0.png"))
      << "a temporary file was left";
}

TEST(OutputFolder, HoldsOneRunAndRemovesOnlyWhatARunWrote) {
  const TempDir temp;
  WriteFile(temp.path() / "mine.txt", "mine");
  {
    auto first = OutputFolder::Open(temp.path());
    ASSERT_TRUE(first->Write("a.png", "1").ok());
    ASSERT_TRUE(first->Write("frames/b.png", "1").ok());
  }
  const absl::Status refused = OutputFolder::Open(temp.path()).status();
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("--out: "), HasSubstr("such as a.png"), HasSubstr("--overwrite")));
  auto second = OutputFolder::Open(temp.path(), {.overwrite = true});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(ReadFile(temp.path() / "a.png"), "1") << "nothing goes before something comes";
  ASSERT_TRUE(second->Write("c.png", "2").ok());
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre(".denoise-run", "c.png", "mine.txt"));
}

TEST(OutputFolder, TheSameRunMayComeBack) {
  const TempDir temp;
  ASSERT_TRUE(OutputFolder::Open(temp.path(), {.name = "job 1"})->Write("a", "1").ok());
  ASSERT_TRUE(
      OutputFolder::Open(temp.path(), {.name = "job 1", .continues = true})->Write("b", "1").ok());
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre(".denoise-run", "a", "b"));
  ASSERT_TRUE(OutputFolder::Open(temp.path(), {.name = "job 1"})->Write("c", "1").ok());
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre(".denoise-run", "c"));
  EXPECT_FALSE(OutputFolder::Open(temp.path(), {.name = "job 2"}).ok());
}

TEST(OutputFolder, RefusesFilesOfTheSameNamesThatNoRunWrote) {
  const TempDir temp;
  WriteFile(temp.path() / "loss.csv", "mine");
  EXPECT_FALSE(OutputFolder::Open(temp.path(), {.files = {"loss.csv"}}).ok());
  EXPECT_TRUE(OutputFolder::Open(temp.path(), {.files = {"other"}}).ok());
}

TEST(OutputFolder, AListThatNamesFilesElsewhereRemovesNothing) {
  const TempDir temp;
  const fs::path folder = temp.path() / "out";
  fs::create_directories(folder);
  WriteFile(temp.path() / "precious", "mine");
  const std::string outside = (temp.path() / "precious").string();
  WriteFile(folder / ".denoise-run", "run\n../precious\n" + outside + "\n");
  ASSERT_TRUE(OutputFolder::Open(folder, {.overwrite = true})->Write("a", "1").ok());
  EXPECT_EQ(ReadFile(temp.path() / "precious"), "mine");
}

TEST(OutputFolder, ALinkInAListedNameIsNotFollowed) {
  const TempDir temp;
  const fs::path folder = temp.path() / "out", elsewhere = temp.path() / "elsewhere";
  fs::create_directories(folder);
  fs::create_directories(elsewhere / "inner");
  WriteFile(elsewhere / "secret.txt", "mine");
  WriteFile(elsewhere / "inner/secret.txt", "mine");
  fs::create_directory_symlink(elsewhere, folder / "frames");
  WriteFile(folder / ".denoise-run", "run\nframes/secret.txt\nframes/inner/secret.txt\n");
  ASSERT_TRUE(OutputFolder::Open(folder, {.overwrite = true})->Write("a", "1").ok());
  EXPECT_EQ(ReadFile(elsewhere / "secret.txt"), "mine");
  EXPECT_EQ(ReadFile(elsewhere / "inner/secret.txt"), "mine");
  EXPECT_TRUE(fs::is_symlink(folder / "frames"));
}

TEST(OutputFolder, IsOfOneRunAtATime) {
  const TempDir temp;
  for (const bool overwrite : {false, true}) {
    auto first = OutputFolder::Open(temp.path(), {.name = "job 1", .overwrite = overwrite});
    ASSERT_TRUE(first.ok()) << first.status();
    const auto second = OutputFolder::Open(temp.path(), {.name = "job 1", .overwrite = overwrite});
    EXPECT_THAT(std::string(second.status().message()),
                AllOf(HasSubstr("--out: "), HasSubstr("another run writes now")));
    ASSERT_TRUE(first->Write("a", "1").ok());
  }
}

TEST(OutputFolder, ARunThatWroteNothingLeavesItToTheNext) {
  const TempDir temp;
  { auto first = OutputFolder::Open(temp.path()); }
  EXPECT_THAT(FilesIn(temp.path()), ElementsAre());
  WriteFile(temp.path() / ".denoise-run", "");  // of one that was killed
  auto second = OutputFolder::Open(temp.path());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->Write("a", "1").ok());
}

TEST(OutputFolder, WithoutANameRunsAtTheSameTimeTakeFoldersOfTheirOwn) {
  const TempDir temp;
  const std::string name = (temp.path() / "out").string();
  std::vector<OutputFolder> folders;
  for (const char* expected : {"out", "out-2", "out-3"}) {
    auto folder = OutputFolder::OpenDefault(name, {.overwrite = true});
    ASSERT_TRUE(folder.ok()) << folder.status();
    EXPECT_EQ(folder->path().filename(), expected);
    folders.push_back(*std::move(folder));
  }
  for (OutputFolder& folder : folders) EXPECT_TRUE(folder.Write("a", "1").ok());
}

TEST(OutputFolder, WithoutANameTheNextFreeFolderIsTaken) {
  const TempDir temp;
  const std::string name = (temp.path() / "out").string();
  for (const char* expected : {"out", "out-2", "out-3"}) {
    auto folder = OutputFolder::OpenDefault(name, {});
    ASSERT_TRUE(folder.ok()) << folder.status();
    EXPECT_EQ(folder->path().filename(), expected);
    ASSERT_TRUE(folder->Write("a", "1").ok());
  }
  EXPECT_EQ(OutputFolder::OpenDefault(name, {.overwrite = true})->path().filename(), "out");
}

TEST(CheckCommandLine, TakesEmptyPromptsAndPathsOfAnyBytes) {
  CLI::App app("", "denoise");
  AddAllCommands(app);
  const std::vector<std::string> good[] = {{"generate", "--prompt", "", "--negative-prompt", ""},
                                           {"tokenize", "--tokenizer", "folder", ""},
                                           {"generate", "--out", "\xff"},
                                           {"roundtrip", "\xff.png"}};
  for (const std::vector<std::string>& arguments : good) {
    EXPECT_FALSE(CheckCommandLine(app, arguments).has_value()) << arguments[1];
  }
}

void ExpectExamples(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    const std::string name = CommandName(*command);
    EXPECT_THAT(command->get_footer(),
                AllOf(HasSubstr("Examples:\n"), HasSubstr(absl::StrCat("  ", name)),
                      HasSubstr("Exit codes:")))
        << name;
    ExpectExamples(*command);
  }
}

TEST(Commands, EveryOneHasExamplesOfItsOwn) {
  CLI::App app("", "denoise");
  app.footer("Examples:\n  denoise models\n");
  AddAllCommands(app);
  ExpectExamples(app);
}

TEST(Commands, FlagsOfOneOneofExcludeEachOther) {
  CLI::App app("", "denoise");
  AddAllCommands(app);
  const auto excluded = [&](const char* command, const char* flag, const char* other) {
    const CLI::App* found = &app;
    for (const absl::string_view name : absl::StrSplit(command, ' ')) {
      found = found->get_subcommand(std::string(name));
    }
    return found->get_option(flag)->get_excludes().contains(
        const_cast<CLI::Option*>(found->get_option(other)));
  };
  for (const char* flag :
       {"--height", "--width", "--channels", "--block-out-channels", "--attention-levels",
        "--no-attention", "--layers-per-block", "--noise-schedule", "--num-train-timesteps",
        "--prediction-type", "--learned-variance", "--class-conditional", "--scale-shift-norm"}) {
    EXPECT_TRUE(excluded("train create", flag, "--base-model")) << flag;
    EXPECT_TRUE(excluded("train create", "--base-model", flag)) << flag;
  }
  EXPECT_FALSE(excluded("train create", "--height", "--width"));
  EXPECT_TRUE(excluded("generate", "--from-seed", "--noise"));
  EXPECT_TRUE(excluded("generate", "--to-seed", "--noise-to"));
  EXPECT_FALSE(excluded("generate", "--from-seed", "--noise-to"));
  EXPECT_TRUE(excluded("generate", "--resume", "--detach"));
  EXPECT_FALSE(excluded("generate", "--resume", "--out"));
  const std::vector<std::vector<const char*>> starts = {
      {"--init", "--strength"},
      {"--branch", "--branch-step"},
      {"--from-seed", "--noise", "--to-seed", "--noise-to", "--variation"},
      {"--invert"}};
  for (const auto& start : starts) {
    for (const auto& other : starts) {
      if (&start == &other) continue;
      for (const char* flag : start) {
        for (const char* another : other) EXPECT_TRUE(excluded("generate", flag, another)) << flag;
      }
    }
  }
}

// Names like "guidance.scale"; a repeated field is one, whatever it holds.
void AddFields(const google::protobuf::Descriptor& message, const std::string& prefix,
               std::vector<std::string>& names) {
  for (int i = 0; i < message.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *message.field(i);
    if (field.message_type() != nullptr && !field.is_repeated()) {
      AddFields(*field.message_type(), prefix + field.name() + ".", names);
    } else {
      names.push_back(prefix + field.name());
    }
  }
}

// What the client library fills in to follow a generation to another server, and --resume with a
// token from a file.
bool IsTheLibrarys(const std::string& field) {
  return field == "handover" || field == "accept_handover";
}

void ExpectAFlagForEveryField(const CLI::App& app, const FlagTable& table,
                              const google::protobuf::Descriptor& request) {
  std::vector<std::string> fields;
  AddFields(request, "", fields);
  for (const std::string& field : fields) {
    if (IsTheLibrarys(field)) continue;
    EXPECT_NE(app.get_option_no_throw(FlagOfField(table, field)), nullptr)
        << field << " would be set by " << FlagOfField(table, field);
  }
}

TEST(FlagOfField, IsAFlagOfTheCommandForEveryFieldOfItsRequest) {
  CLI::App generate, diffuse;
  AddGenerateCommand(generate);
  ExpectAFlagForEveryField(generate, GenerateTable(), *v1::GenerateRequest::descriptor());
  AddDiffuseCommand(diffuse);
  ExpectAFlagForEveryField(diffuse, DiffuseTable(), *v1::DiffuseRequest::descriptor());
}

TEST(ErrorText, AdvisesFewerImagesOnlyWhereImagesAreAskedFor) {
  const absl::Status late = absl::DeadlineExceededError("the deadline passed");
  EXPECT_THAT(ErrorText(late, GenerateTable()), HasSubstr("fewer images or steps"));
  EXPECT_THAT(ErrorText(late), AllOf(HasSubstr("--deadline"), Not(HasSubstr("images"))));
}

TEST(ErrorText, EscapesWhatTheServerSays) {
  EXPECT_THAT(ErrorText(absl::InternalError("\x1b]0;gone\x07")), HasSubstr("\\x1b]0;gone\\x07"));
  const std::string violation = ErrorText(InvalidField("\x1b[1m", "\x1b[2J"));
  EXPECT_EQ(violation.find('\x1b'), std::string::npos) << violation;
}

}  // namespace
}  // namespace denoise
