// The command `denoise datasets`, and what hostile servers say.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "tests/client/cli/commands/cli_training_testing.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(CliTrainingTest, AServerWithoutStateIsNamedWithTheFlagThatItLacks) {
  training_.list_datasets = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "");  // as gRPC answers
  };
  EXPECT_EQ(
      Run({"datasets", "list"}).error,
      absl::StrCat("denoise: the server at ", server_.address(),
                   " does not offer this call\n"
                   "  For training and data sets, start it with --state. Otherwise check that "
                   "it is denoised and\n"
                   "  at least as new as this client.\n"));
}

TEST_F(CliTrainingTest, AnAnswerOfTheServerGetsNoAdviceForOneThatIsNotReachedOrOverwhelmed) {
  for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    training_.list_datasets = [code](const auto&, auto&) {
      return StatusWithDetail(code, "the disk is full", google::rpc::ErrorInfo());
    };
    EXPECT_EQ(Run({"datasets", "list"}).error, "denoise: the disk is full\n");
  }
}

// The data set as the server has it: what was uploaded.
class CliUploadTest : public CliTrainingTest {
 protected:
  CliUploadTest() {
    for (const char* name : {"cats/a", "cats/b", "dogs/c"}) {
      const fs::path path = folder_.path() / "pets.v2" / absl::StrCat(name, ".png");
      fs::create_directories(path.parent_path());
      WriteFile(path, Picture().data());
    }
    training_.upload = [this](auto&, auto& reader, auto& dataset) {
      v1::UploadDatasetRequest message;
      reader.Read(&message);
      headers_.push_back(message.header());
      std::string bytes;
      while (reader.Read(&message)) bytes += message.chunk().data();
      uploads_.push_back(bytes);
      dataset = Ready();
      return grpc::Status::OK;
    };
  }

  static v1::Dataset Ready() {
    v1::Dataset dataset;
    dataset.set_name("datasets/pets");
    dataset.set_state(v1::Dataset::READY);
    dataset.mutable_report()->set_pictures(3);
    dataset.mutable_report()->set_unreadable_files(1);
    v1::UnreadableFile& file = *dataset.mutable_report()->add_unreadable_examples();
    file.set_file("cats/broken.png");
    file.set_reason("is no picture");
    v1::DatasetClass& cats = *dataset.mutable_report()->add_classes();
    cats.set_display_name("cats");
    cats.set_pictures(2);
    *dataset.mutable_report()->mutable_contact_sheet() = Picture();
    return dataset;
  }

  ProcessResult Upload(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"datasets", "upload",
                                          (folder_.path() / "pets.v2/").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  std::vector<v1::UploadHeader> headers_;
  std::vector<std::string> uploads_;
};

TEST_F(CliUploadTest, AFolderBecomesADataSetAndItsReportIsShown) {
  const auto result = Upload();
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  ASSERT_EQ(headers_.size(), 1u);
  EXPECT_EQ(headers_[0].name(), "datasets/pets");
  EXPECT_EQ(headers_[0].format(), v1::DATASET_FORMAT_TAR);
  EXPECT_EQ(headers_[0].total_bytes(), static_cast<int64_t>(uploads_[0].size()));
  EXPECT_EQ(headers_[0].sha256().size(), 32u);
  EXPECT_THAT(uploads_[0], AllOf(HasSubstr("cats/a.png"), HasSubstr("dogs/c.png")));
  EXPECT_THAT(result.output, AllOf(StartsWith("pets\n  state             ready\n"),
                                   HasSubstr("pictures          3\n"),
                                   HasSubstr("    cats/broken.png: is no picture\n"),
                                   HasSubstr("       0       2  cats\n")));
}

TEST_F(CliUploadTest, WhatTheServerHasIsNotSentAgain) {
  ASSERT_EQ(Upload().exit_status, Exited(0));
  dataset_.set_name("datasets/pets");
  dataset_.set_state(v1::Dataset::UPLOADING);
  dataset_.set_received_bytes(1000);
  const auto result = Upload({"--json"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_EQ(headers_[1].offset(), 1000);
  EXPECT_EQ(headers_[1].sha256(), headers_[0].sha256()) << "a folder is the same tar every time";
  EXPECT_TRUE(uploads_[1] == uploads_[0].substr(1000));
  const json dataset = Lines(result.output).at(0);
  EXPECT_EQ(dataset["report"]["pictures"], "3");
  EXPECT_EQ(dataset["report"]["contact_sheet"]["data"], "");
}

TEST_F(CliUploadTest, AnUploadThatTheServerReadsIsOnlyWaitedFor) {
  ASSERT_EQ(Upload().exit_status, Exited(0));
  const int64_t all = headers_[0].total_bytes();
  dataset_.set_name("datasets/pets");
  dataset_.set_state(v1::Dataset::READING);
  dataset_.set_received_bytes(all);
  const auto result = Upload();
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_EQ(headers_.at(1).offset(), all);
  EXPECT_THAT(uploads_.at(1), IsEmpty());
  EXPECT_THAT(result.output, HasSubstr("state             ready\n"));
}

TEST_F(CliUploadTest, AnInterruptEndsTheUploadWhileTheServerReads) {
  for (const int signal : {SIGINT, SIGTERM}) {
    absl::Notification reading;
    training_.upload = [&reading](auto& context, auto& reader, auto&) {
      v1::UploadDatasetRequest message;
      while (reader.Read(&message)) continue;
      reading.Notify();
      WaitUntilCancelled(context);
      return grpc::Status::CANCELLED;
    };
    auto process = Subprocess::Start(Argv({"datasets", "upload",
                                           (folder_.path() / "pets.v2").string(), "--json"}))
                       .value();
    ASSERT_TRUE(reading.WaitForNotificationWithTimeout(kPatience));
    process->Signal(signal);
    EXPECT_EQ(process->Wait(kPatience), Exited(130));
    EXPECT_EQ(process->standard_error().WaitForEnd(),
              "denoise: interrupted. The server keeps what it has received for a day; run the same "
              "command again to continue.\n");
    EXPECT_EQ(Lines(process->standard_output().WaitForEnd()).at(0)["error"]["code"], "CANCELLED");
  }
}

TEST_F(CliUploadTest, AServerThatSaysItHasMoreThanThereIsIsAnError) {
  dataset_.set_name("datasets/pets");
  dataset_.set_state(v1::Dataset::UPLOADING);
  for (const int64_t received : {int64_t{1} << 40, int64_t{-1}}) {
    dataset_.set_received_bytes(received);
    EXPECT_EQ(Upload().exit_status, Exited(1));
  }
  EXPECT_THAT(headers_, IsEmpty());
}

TEST_F(CliUploadTest, ANameThatIsTakenIsAFailure) {
  training_.upload = [](auto&, auto&, auto&) {
    return grpc::Status(grpc::StatusCode::ALREADY_EXISTS, "there is one of this name");
  };
  const auto result = Upload();
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("there is one of this name"));
}

// Neither is known to the server before the whole upload has been hashed.
TEST_F(CliUploadTest, ANameThatIsTakenOrUnsuitableIsAFailureBeforeAnythingIsSent) {
  dataset_ = Ready();
  const auto taken = Upload();
  EXPECT_EQ(taken.exit_status, Exited(1));
  EXPECT_EQ(taken.error,
            "denoise: there is already a data set pets, and it is ready; delete it first (`denoise "
            "datasets delete pets`), or give another name with --name\n");
  const auto unsuitable = Upload({"--name", "Katzen-ü"});
  EXPECT_EQ(unsuitable.exit_status, Exited(2));
  EXPECT_THAT(unsuitable.error,
              AllOf(StartsWith("denoise: the request is invalid\n  --name: must be up to 128 "),
                    HasSubstr("; is \"Katzen-ü\"\n")));
  EXPECT_THAT(headers_, IsEmpty());
  EXPECT_EQ(Upload({"--name", "datasets/pets-2"}).exit_status, Exited(0));
  EXPECT_EQ(headers_.at(0).name(), "datasets/pets-2");
}

TEST_F(CliUploadTest, APathWhoseNameDoesNotSuitNeedsAnotherName) {
  for (const char* name : {"sp ace & name", "Katzen-ü", ".dot"}) {
    const fs::path path = folder_.path() / name;
    fs::copy(folder_.path() / "pets.v2", path, fs::copy_options::recursive);
    const auto result = Run({"datasets", "upload", path.string()});
    EXPECT_EQ(result.exit_status, Exited(2)) << name;
    EXPECT_THAT(result.error,
                HasSubstr(absl::StrCat("  --name: \"", name,
                                       "\", from the path, cannot be the name of a data set; give "
                                       "one with --name: ")));
  }
  EXPECT_THAT(headers_, IsEmpty());
}

TEST_F(CliUploadTest, AFolderThatADotStandsForGivesItsName) {
  for (const char* path : {"pets.v2/.", "pets.v2/cats/..", "pets.v2/./"}) {
    const auto result = Run({"datasets", "upload", (folder_.path() / path).string()});
    ASSERT_EQ(result.exit_status, Exited(0)) << path << result.error;
    EXPECT_EQ(headers_.back().name(), "datasets/pets") << path;
  }
}

TEST_F(CliUploadTest, APipeOrAnEmptyFileIsNoUpload) {
  const std::string pipe = (folder_.path() / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const std::string empty = (folder_.path() / "empty.tar").string();
  WriteFile(empty, "");
  EXPECT_THAT(Run({"datasets", "upload", pipe}).error,
              StartsWith(absl::StrCat("denoise: cannot read ", pipe,
                                      ": it is neither a file nor a folder\n")));
  const auto result = Run({"datasets", "upload", empty});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, StartsWith(absl::StrCat("denoise: ", empty, " is empty\n")));
  EXPECT_THAT(headers_, IsEmpty());
}

TEST_F(CliUploadTest, WrongHeadersAreNamedByTheirFlags) {
  training_.upload = [](auto&, auto&, auto&) {
    return BadRequestStatus({{"header.name", "is odd"}, {"header.format", "is another"}});
  };
  const auto result = Upload({"--name", "odd"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, AllOf(HasSubstr("--name: is odd"), HasSubstr("--format: is another")));
}

TEST_F(CliUploadTest, DataSetsAreListedReportedAndDeleted) {
  dataset_ = Ready();
  std::string deleted;
  training_.list_datasets = [&](const auto&, auto& response) {
    *response.add_datasets() = dataset_;
    return grpc::Status::OK;
  };
  training_.delete_dataset = [&](const auto& request, auto&) {
    deleted = request.name();
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"datasets", "list"}).output, HasSubstr("pets  ready  3         1        0 B"));
  EXPECT_EQ(Lines(Run({"datasets", "list", "--json"}).output).at(0)["name"], "datasets/pets");
  EXPECT_THAT(Run({"datasets", "report", "pets", "--out", out().string()}).output,
              HasSubstr("pictures          3"));
  EXPECT_EQ(ReadFile(out() / "contact-sheet.png"), Picture().data());
  EXPECT_EQ(Run({"datasets", "delete", "pets"}).output, "data set pets is deleted\n");
  EXPECT_EQ(deleted, "datasets/pets");
}

TEST_F(CliUploadTest, WhatAServerSaysDoesNotReachTheTerminalAsItIs) {
  job_.set_state_reason(kHostile);
  job_.mutable_training()->set_dataset(absl::StrCat("datasets/", kHostile));
  (*job_.mutable_labels())[kHostile] = kHostile;
  dataset_ = Ready();
  dataset_.set_error(kHostile);
  dataset_.mutable_report()->mutable_classes(0)->set_display_name(kHostile);
  dataset_.mutable_report()->mutable_unreadable_examples(0)->set_file(kHostile);
  training_.list_jobs = [&](const auto&, auto& response) {
    *response.add_jobs() = job_;
    return grpc::Status::OK;
  };
  std::vector<v1::TrainingEvent> events = WholeJob();
  events[4].set_notice(kHostile);
  events[6].mutable_state_change()->set_reason(kHostile);
  Serve(events);
  const std::vector<std::string> commands[] = {{"train", "get", "7"},
                                               {"train", "list"},
                                               {"train", "watch", "7"},
                                               {"datasets", "report", "pets"}};
  for (const std::vector<std::string>& command : commands) {
    const auto result = Run(command);
    EXPECT_EQ(result.exit_status, Exited(0)) << result.error;
    EXPECT_THAT(result.output, AllOf(HasSubstr("gone"), Not(HasSubstr("\x1b")),
                                     Not(HasSubstr("\x07")), Not(HasSubstr("\r"))))
        << command[1];
  }
}

}  // namespace
}  // namespace denoise
