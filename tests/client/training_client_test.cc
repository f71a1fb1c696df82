#include "client/training_client.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/error_details.h"
#include "core/base/mutex.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/fake_training.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::Pair;

class TrainingClientTest : public testing::Test {
 protected:
  void TearDown() override { server_.Stop(); }  // handlers use members of derived fixtures

  TrainingClient MakeClient(ClientOptions options = {}) {
    options.address = server_.address();
    return TrainingClient(options);
  }

  // Answers `answer` with a job of the name that was asked for.
  template <class Request>
  static void Echo(FakeTraining::JobAnswer<Request>& answer) {
    answer = [](const Request& request, v1::TrainingJob& job) {
      job.set_name(request.name());
      return grpc::Status::OK;
    };
  }

  FakeTraining training_;
  FakeServer server_{training_.services()};
  TrainingClient client_ = MakeClient();
};

TEST_F(TrainingClientTest, RequestsGoAsTheyAre) {
  std::string created, published;
  training_.create_job = [&](const auto& request, auto& job) {
    created = request.ShortDebugString();
    job.set_name("trainingJobs/7");
    return grpc::Status::OK;
  };
  training_.publish = [&](const auto& request, auto& model) {
    published = request.ShortDebugString();
    model.set_name("models/emoji");
    return grpc::Status::OK;
  };
  v1::CreateTrainingJobRequest create;
  create.mutable_training()->set_dataset("datasets/emoji");
  v1::PublishModelRequest publish;
  publish.set_source("trainingJobs/7/checkpoints/500");
  EXPECT_EQ(client_.CreateJob(create).value().name(), "trainingJobs/7");
  EXPECT_EQ(client_.Publish(publish).value().name(), "models/emoji");
  EXPECT_EQ(created, create.ShortDebugString());
  EXPECT_EQ(published, publish.ShortDebugString());
}

TEST_F(TrainingClientTest, NamesMayBeShort) {
  Echo(training_.get_job);
  Echo(training_.cancel_job);
  Echo(training_.pause_job);
  Echo(training_.resume_job);
  for (const char* name : {"7", "trainingJobs/7"}) {
    EXPECT_EQ(client_.GetJob(name).value().name(), "trainingJobs/7");
    EXPECT_EQ(client_.CancelJob(name).value().name(), "trainingJobs/7");
    EXPECT_EQ(client_.PauseJob(name).value().name(), "trainingJobs/7");
    EXPECT_EQ(client_.ResumeJob(name).value().name(), "trainingJobs/7");
  }
  std::vector<std::string> heard;
  training_.delete_job = [&](const auto& request, auto&) {
    heard.push_back(request.name());
    return grpc::Status::OK;
  };
  training_.list_checkpoints = [&](const auto& request, auto&) {
    heard.push_back(request.parent());
    return grpc::Status::OK;
  };
  training_.get_dataset = [&](const auto& request, auto&) {
    heard.push_back(request.name());
    return grpc::Status::OK;
  };
  training_.delete_dataset = [&](const auto& request, auto&) {
    heard.push_back(request.name());
    return grpc::Status::OK;
  };
  EXPECT_TRUE(client_.DeleteJob("7").ok());
  EXPECT_TRUE(client_.ListCheckpoints("7").ok());
  EXPECT_TRUE(client_.GetDataset("emoji").ok());
  EXPECT_TRUE(client_.DeleteDataset("datasets/emoji").ok());
  EXPECT_THAT(heard,
              ElementsAre("trainingJobs/7", "trainingJobs/7", "datasets/emoji", "datasets/emoji"));
}

TEST_F(TrainingClientTest, ListsAreReadPageAfterPage) {
  // Three pages of one resource each.
  const auto page = [](const auto& request, auto* resource, auto& response, const char* prefix) {
    const int number = request.page_token().empty() ? 0 : std::stoi(request.page_token());
    resource->set_name(absl::StrCat(prefix, number));
    if (number < 2) response.set_next_page_token(absl::StrCat(number + 1));
    return grpc::Status::OK;
  };
  training_.list_jobs = [&](const auto& request, auto& response) {
    EXPECT_THAT(request.states(), ElementsAre(v1::TrainingJob::QUEUED, v1::TrainingJob::PAUSED));
    return page(request, response.add_jobs(), response, "trainingJobs/");
  };
  training_.list_checkpoints = [&](const auto& request, auto& response) {
    return page(request, response.add_checkpoints(), response, "checkpoints/");
  };
  training_.list_datasets = [&](const auto& request, auto& response) {
    return page(request, response.add_datasets(), response, "datasets/");
  };
  const auto jobs = client_.ListJobs({v1::TrainingJob::QUEUED, v1::TrainingJob::PAUSED});
  ASSERT_EQ(jobs.value().size(), 3u);
  EXPECT_EQ(jobs->back().name(), "trainingJobs/2");
  EXPECT_EQ(client_.ListCheckpoints("7").value().back().name(), "checkpoints/2");
  EXPECT_EQ(client_.ListDatasets().value().back().name(), "datasets/2");
}

TEST_F(TrainingClientTest, OnlyWhatTakesItsTimeMayTakeLongerThanUnaryCalls) {
  absl::Notification publishing;
  absl::Notification unary_deadline_passed;
  training_.publish = [&](const auto&, auto&) {
    publishing.Notify();
    unary_deadline_passed.WaitForNotification();
    return grpc::Status::OK;
  };
  training_.get_job = [&](const auto&, auto&) {
    unary_deadline_passed.WaitForNotification();
    return grpc::Status::OK;
  };
  TrainingClient client = MakeClient({.unary_deadline = absl::Milliseconds(100)});
  std::thread publish([&client] { EXPECT_TRUE(client.Publish({}).ok()); });
  publishing.WaitForNotification();
  EXPECT_TRUE(absl::IsDeadlineExceeded(client.GetJob("7").status()));
  unary_deadline_passed.Notify();
  publish.join();
  server_.Stop();  // GetJob's handler still uses the notification
}

// Bytes of a test, which can be unreadable at the end.
class TextSource final : public UploadSource {
 public:
  explicit TextSource(std::string text, absl::Status end = {})
      : text_(std::move(text)), end_(std::move(end)) {}

  absl::Status Seek(int64_t offset) override {
    position_ = static_cast<size_t>(offset);
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Read(size_t max_bytes) override {
    const std::string bytes = text_.substr(position_, max_bytes);
    position_ += bytes.size();
    if (bytes.empty() && !end_.ok()) return end_;
    return bytes;
  }

 private:
  const std::string text_;
  const absl::Status end_;
  size_t position_ = 0;
};

// Bit by bit, reflected, as the standard has it.
uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

class UploadTest : public TrainingClientTest {
 protected:
  UploadTest() {
    training_.upload = [this](auto& context, auto& reader, auto& dataset) {
      v1::UploadDatasetRequest message;
      if (reader.Read(&message)) header_ = message.header();
      if (!refusal_.ok()) return refusal_;
      while (reader.Read(&message)) {
        EXPECT_TRUE(message.chunk().has_crc32());
        EXPECT_EQ(message.chunk().crc32(), Crc32(message.chunk().data()));
        EXPECT_LE(message.chunk().data().size(), size_t{1} << 20);
        received_ += message.chunk().data();
        ++chunks_;
      }
      complete_ = !context.IsCancelled();
      dataset.set_name(header_.name());
      dataset.set_state(v1::Dataset::READY);
      const MutexLock lock(mutex_);
      ended_ = true;
      has_ended_.NotifyAll();
      return grpc::Status::OK;
    };
    header_sent_.set_name("datasets/emoji");
    header_sent_.set_format(v1::DATASET_FORMAT_TAR);
    header_sent_.set_total_bytes(static_cast<int64_t>(text_.size()));
    header_sent_.set_sha256(std::string(32, 'h'));
  }

  // What the server has heard may be read from here on.
  void WaitForTheServer() {
    const MutexLock lock(mutex_);
    while (!ended_) has_ended_.Wait(mutex_);
  }

  static std::string Text() {
    std::string text;
    for (int i = 0; text.size() < 900000; ++i) absl::StrAppend(&text, i, ",");
    return text;
  }

  const std::string text_ = Text();
  v1::UploadHeader header_sent_;
  grpc::Status refusal_;  // after the header
  // What the server has heard; read after the call.
  v1::UploadHeader header_;
  std::string received_;
  int chunks_ = 0;
  bool complete_ = false;
  Mutex mutex_;
  CondVar has_ended_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

TEST_F(UploadTest, SendsTheHeaderThenEveryByteInChunksWithChecksums) {
  TextSource source(text_);
  const auto dataset = client_.Upload(header_sent_, source);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->state(), v1::Dataset::READY);
  WaitForTheServer();
  EXPECT_EQ(header_.ShortDebugString(), header_sent_.ShortDebugString());
  EXPECT_TRUE(received_ == text_);
  EXPECT_GT(chunks_, 1);
}

TEST_F(UploadTest, GoesOnFromTheHeadersOffset) {
  header_sent_.set_offset(600001);
  TextSource source(text_);
  std::vector<int64_t> told;
  ASSERT_TRUE(
      client_.Upload(header_sent_, source, [&told](int64_t sent) { told.push_back(sent); }).ok());
  WaitForTheServer();
  EXPECT_EQ(header_.offset(), 600001);
  EXPECT_TRUE(received_ == text_.substr(600001));
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_GT(told.front(), 600001);
  EXPECT_EQ(told.back(), static_cast<int64_t>(text_.size())) << "of all, not of this call";
}

TEST_F(UploadTest, IsGivenUpBetweenTwoChunks) {
  TextSource source(text_);
  UploadCancellation cancellation;
  const absl::Status status =
      client_
          .Upload(
              header_sent_, source, [&](int64_t) { cancellation.Cancel(); }, &cancellation)
          .status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  WaitForTheServer();
  EXPECT_FALSE(complete_) << "the server takes it for all there is";
}

TEST_F(UploadTest, IsGivenUpWhileTheServerReads) {
  absl::Notification reading;
  training_.upload = [&reading](auto& context, auto& reader, auto&) {
    v1::UploadDatasetRequest message;
    while (reader.Read(&message)) continue;
    reading.Notify();
    WaitUntilCancelled(context);
    return grpc::Status::CANCELLED;
  };
  TextSource source(text_);
  UploadCancellation cancellation;
  std::thread canceller([&] {
    reading.WaitForNotification();
    cancellation.Cancel();
  });
  const absl::Status status = client_.Upload(header_sent_, source, {}, &cancellation).status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  canceller.join();
}

TEST_F(UploadTest, DoesNotBeginOnceItIsGivenUp) {
  TextSource source(text_);
  UploadCancellation cancellation;
  cancellation.Cancel();
  EXPECT_TRUE(absl::IsCancelled(client_.Upload(header_sent_, source, {}, &cancellation).status()));
}

TEST_F(UploadTest, ASourceThatFailsIsTheErrorAndNotTheEnd) {
  TextSource source(text_, absl::DataLossError("the disk is broken"));
  EXPECT_EQ(client_.Upload(header_sent_, source).status(),
            absl::DataLossError("the disk is broken"));
  WaitForTheServer();
  EXPECT_FALSE(complete_) << "the server takes it for all there is";
}

TEST_F(UploadTest, TheServersRefusalTellsWhereToGoOn) {
  google::rpc::ErrorInfo info;
  info.set_reason("WRONG_OFFSET");
  (*info.mutable_metadata())["received_bytes"] = "4096";
  refusal_ = StatusWithDetail(grpc::StatusCode::FAILED_PRECONDITION, "wrong offset", info);
  TextSource source(text_);
  const absl::Status status = client_.Upload(header_sent_, source).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(status.message(), "wrong offset");
  EXPECT_THAT(GetErrorMetadata(status), ElementsAre(Pair("received_bytes", "4096")));
}

TEST_F(UploadTest, AQuotaThatIsUsedUpIsNamed) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("datasets");
  refusal_ = StatusWithDetail(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many", quota);
  TextSource source(text_);
  const absl::Status status = client_.Upload(header_sent_, source).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  ASSERT_TRUE(GetQuotaViolation(status).has_value());
  EXPECT_EQ(GetQuotaViolation(status)->subject, "datasets");
}

TEST_F(UploadTest, TheDeadlineForWhatTakesItsTimeHolds) {
  training_.upload = [](auto& context, auto&, auto&) {
    WaitUntilCancelled(context);
    return grpc::Status::CANCELLED;
  };
  TrainingClient client = MakeClient({.generate_deadline = absl::Milliseconds(100)});
  TextSource source("short");
  EXPECT_TRUE(absl::IsDeadlineExceeded(client.Upload(header_sent_, source).status()));
}

class WatchTest : public TrainingClientTest {
 protected:
  // The job passes through `states` and the stream ends.
  void Serve(std::vector<v1::TrainingJob::State> states) {
    training_.watch_job = [this, states](auto&, const auto& request, auto& writer) {
      request_ = request;
      v1::TrainingEvent event;
      for (const v1::TrainingJob::State state : states) {
        event.set_sequence(event.sequence() + 1);
        event.mutable_state_change()->set_state(state);
        writer.Write(event);
      }
      return grpc::Status::OK;
    };
  }

  // How many events there are until the stream's end.
  absl::StatusOr<int> Count(TrainingStream stream) {
    for (int count = 0;; ++count) {
      const auto event = stream.Next();
      if (!event.ok()) return event.status();
      if (!event->has_value()) return count;
    }
  }

  v1::WatchTrainingJobRequest request_;
};

TEST_F(WatchTest, EndsOnceTheJobIsOver) {
  for (const auto last :
       {v1::TrainingJob::SUCCEEDED, v1::TrainingJob::FAILED, v1::TrainingJob::CANCELLED}) {
    Serve({v1::TrainingJob::RUNNING, last});
    const auto count = Count(client_.Watch("7"));
    ASSERT_TRUE(count.ok()) << count.status();
    EXPECT_EQ(*count, 2);
  }
  EXPECT_EQ(request_.ShortDebugString(), "name: \"trainingJobs/7\"");
}

TEST_F(WatchTest, AStreamThatEndsBeforeItsJobIsAnError) {
  for (const auto last : {v1::TrainingJob::QUEUED, v1::TrainingJob::RUNNING,
                          v1::TrainingJob::PAUSED, v1::TrainingJob::CANCELLING}) {
    Serve({last});
    EXPECT_TRUE(absl::IsInternal(Count(client_.Watch("7")).status()));
  }
}

TEST_F(WatchTest, GoesOnAfterASequenceNumber) {
  Serve({v1::TrainingJob::SUCCEEDED});
  EXPECT_TRUE(Count(client_.Watch("trainingJobs/7", 41)).ok());
  EXPECT_EQ(request_.ShortDebugString(), "name: \"trainingJobs/7\" resume_after: 41");
}

}  // namespace
}  // namespace denoise
