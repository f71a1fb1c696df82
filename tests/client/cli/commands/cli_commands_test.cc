// The parts of commands that are functions.
#include <google/protobuf/descriptor.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/flags/generate_flags.h"
#include "core/base/field_violations.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using ::testing::HasSubstr;

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

TEST(OutputFolder, AFileInTheWayIsAnErrorThatNamesIt) {
  const TempDir temp;
  auto folder = OutputFolder::Open(temp.path());
  fs::create_directories(temp.path() / "image-0.png" / "inner");
  const absl::Status status = folder->Write("image-0.png", "x").status();
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("image-0.png"));
  const auto entries = fs::directory_iterator(temp.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "a temporary file was left";
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

void ExpectAFlagForEveryField(const CLI::App& app, const FlagTable& table,
                              const google::protobuf::Descriptor& request) {
  std::vector<std::string> fields;
  AddFields(request, "", fields);
  for (const std::string& field : fields) {
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

TEST(ErrorText, EscapesWhatTheServerSays) {
  EXPECT_THAT(ErrorText(absl::InternalError("\x1b]0;gone\x07")), HasSubstr("\\x1b]0;gone\\x07"));
  const std::string violation = ErrorText(InvalidField("\x1b[1m", "\x1b[2J"));
  EXPECT_EQ(violation.find('\x1b'), std::string::npos) << violation;
}

}  // namespace
}  // namespace denoise
