// UploadDataset over a real connection, with a store whose reading of uploads is the test's.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "core/base/error_details.h"
#include "core/base/sha256.h"
#include "denoised/v1/datasets.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/grpc_listener.h"
#include "server/jobs/datasets/data_set_reader.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/rpc/datasets_service.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::HasSubstr;

constexpr absl::Duration kWriteTimeMax = absl::Seconds(1);

std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return absl::HexStringToBytes(hash.Finish());
}

v1::UploadDatasetRequest Header(const std::string& name, const std::string& bytes,
                                int64_t offset = 0) {
  v1::UploadDatasetRequest message;
  v1::UploadHeader& header = *message.mutable_header();
  header.set_name("datasets/" + name);
  header.set_format(v1::DATASET_FORMAT_TAR);
  header.set_total_bytes(static_cast<int64_t>(bytes.size()));
  header.set_sha256(Sha256Of(bytes));
  header.set_offset(offset);
  return message;
}

v1::UploadDatasetRequest Chunk(const std::string& data) {
  v1::UploadDatasetRequest message;
  message.mutable_chunk()->set_data(data);
  message.mutable_chunk()->set_crc32(
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size())));
  return message;
}

// The metadata that an error carries.
std::map<std::string, std::string> MetadataOf(const grpc::Status& status) {
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  for (const auto& any : rich.details()) {
    google::rpc::ErrorInfo info;
    if (any.UnpackTo(&info)) return {info.metadata().begin(), info.metadata().end()};
  }
  return {};
}

bool NamesAQuota(const grpc::Status& status) {
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  for (const auto& any : rich.details()) {
    if (any.Is<google::rpc::QuotaFailure>()) return true;
  }
  return false;
}

// The system's clock. Once armed it throws one time, as a library does that runs out of memory. The
// store's own threads, which are those that wait, do not see it.
class ThrowingClock final : public Clock {
 public:
  void Arm() { armed_ = true; }

  absl::Time Now() const override {
    if (!waits_ && armed_.exchange(false)) throw std::runtime_error("inside");
    return Clock::Real().Now();
  }
  void WaitUntil(CondVar& condition, Mutex& mutex, absl::Time deadline) const override {
    waits_ = true;
    Clock::Real().WaitUntil(condition, mutex, deadline);
  }

 private:
  static inline thread_local bool waits_ = false;
  mutable std::atomic<bool> armed_ = false;
};

class UploadCallTest : public testing::Test {
 protected:
  UploadCallTest() {
    ServerFlags flags;
    flags.listen = "127.0.0.1:0";
    listener_ = *Listen(flags, {{v1::Datasets::service_full_name(), &service_}}, &memory_, nullptr);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // windows that do not grow
    stub_ = v1::Datasets::NewStub(grpc::CreateCustomChannel(
        listener_.address, grpc::InsecureChannelCredentials(), arguments));
  }
  ~UploadCallTest() override { listener_.server->Shutdown(); }

  // Sends `messages` and closes.
  grpc::Status Upload(const std::vector<v1::UploadDatasetRequest>& messages) {
    grpc::ClientContext context;
    const auto writer = stub_->UploadDataset(&context, &dataset_);
    for (const auto& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }

  v1::Dataset Get(const std::string& name) {
    v1::GetDatasetRequest request;
    request.set_name("datasets/" + name);
    grpc::ClientContext context;
    v1::Dataset dataset;
    EXPECT_TRUE(stub_->GetDataset(&context, request, &dataset).ok());
    return dataset;
  }

  // Until the server has taken the header.
  void WaitUntilThereIs(const std::string& name) {
    v1::GetDatasetRequest request;
    request.set_name("datasets/" + name);
    grpc::Status status;
    do {
      grpc::ClientContext context;
      v1::Dataset dataset;
      status = stub_->GetDataset(&context, request, &dataset);
    } while (status.error_code() == grpc::StatusCode::NOT_FOUND);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  TempDir folder_;
  StateDir state_ = *StateDir::Open(folder_.path());
  std::unique_ptr<Database> database_ = *Database::Open(state_.database());
  ThrowingClock store_clock_;
  std::string class_name_;
  absl::Status reading_;  // what reading an upload comes to
  std::unique_ptr<DataSetStore> store_ = *DataSetStore::Open(
      database_.get(), &state_, {.data_sets = 2, .data_set_bytes = 1 << 20},
      [this](v1::DatasetFormat, const std::filesystem::path&, const std::filesystem::path& stored,
             const IngestProgressFunction&) {
        std::ofstream(stored) << "pictures";
        IngestResult result{reading_, {}};
        result.report.set_pictures(3);
        result.report.add_classes()->set_display_name(class_name_);
        return result;
      },
      &store_clock_);
  FakeClock clock_;
  std::atomic<bool> short_of_memory_ = false;
  LiveCalls live_calls_{&clock_, [this] {
                          return short_of_memory_ ? absl::UnavailableError("short of memory")
                                                  : absl::OkStatus();
                        }};
  WorkPool pool_{2};
  CallWatch call_watch_{kWriteTimeMax / 10, &clock_};
  DatasetsService service_{[this] { return store_.get(); },
                           {.pool = &pool_,
                            .clock = &clock_,
                            .live_calls = &live_calls_,
                            .call_watch = &call_watch_,
                            .write_time_max = kWriteTimeMax}};
  MemoryGuard memory_{ProcessMemory(/*flag_bytes=*/0)};
  GrpcListener listener_;
  std::unique_ptr<v1::Datasets::Stub> stub_;
  v1::Dataset dataset_;
};

TEST_F(UploadCallTest, AnswersWithTheReportOnceItIsRead) {
  const grpc::Status status = Upload({Header("a", "hello"), Chunk("hel"), Chunk("lo")});
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset_.state(), v1::Dataset::READY);
  EXPECT_EQ(dataset_.report().pictures(), 3);
  EXPECT_EQ(dataset_.received_bytes(), 5);
}

TEST_F(UploadCallTest, AnUploadThatBrokeOffGoesOnWhereItIsSafe) {
  EXPECT_EQ(Upload({Header("a", "hello"), Chunk("hel")}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);  // closed too early
  ASSERT_EQ(Get("a").state(), v1::Dataset::UPLOADING);
  ASSERT_EQ(Get("a").received_bytes(), 3);

  const grpc::Status wrong = Upload({Header("a", "hello", 1), Chunk("ello")});
  EXPECT_EQ(wrong.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(MetadataOf(wrong)["received_bytes"], "3");
  EXPECT_TRUE(Upload({Header("a", "hello", 3), Chunk("lo")}).ok());
}

TEST_F(UploadCallTest, AChunkThatWasDamagedOnTheWayIsNotTaken) {
  v1::UploadDatasetRequest damaged = Chunk("lo");
  damaged.mutable_chunk()->set_data("l0");
  const grpc::Status status = Upload({Header("a", "hello"), Chunk("hel"), damaged});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_THAT(status.error_message(), HasSubstr("chunk"));
  EXPECT_EQ(MetadataOf(status)["received_bytes"], "3");
  EXPECT_EQ(Get("a").received_bytes(), 3);
}

TEST_F(UploadCallTest, MessagesOutOfOrderAreRefused) {
  EXPECT_EQ(Upload({Chunk("hello")}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({v1::UploadDatasetRequest()}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Upload({Header("a", "hello"), Header("a", "hello")}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(UploadCallTest, MoreThanWasAnnouncedIsRefused) {
  EXPECT_EQ(Upload({Header("a", "hello"), Chunk("hello!")}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(UploadCallTest, AQuotaSaysWhatIsUsedUp) {
  EXPECT_TRUE(Upload({Header("a", "x"), Chunk("x")}).ok());
  EXPECT_TRUE(Upload({Header("b", "x"), Chunk("x")}).ok());
  const grpc::Status status = Upload({Header("c", "x"), Chunk("x")});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(NamesAQuota(status));
}

TEST_F(UploadCallTest, AQuotaThatIsUsedUpWhileReadingIsTold) {
  reading_ = QuotaExceeded("datasets/bytes", "its pictures take more than is left");
  const grpc::Status status = Upload({Header("a", "x"), Chunk("x")});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "its pictures take more than is left");
  EXPECT_TRUE(NamesAQuota(status));
  EXPECT_EQ(Get("a").state(), v1::Dataset::FAILED);
  EXPECT_EQ(Get("a").error(), "its pictures take more than is left");
}

TEST_F(UploadCallTest, WhatHoldsNoPicturesIsInvalid) {
  reading_ = absl::InvalidArgumentError("no picture in it");
  const grpc::Status status = Upload({Header("a", "x"), Chunk("x")});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Get("a").state(), v1::Dataset::FAILED);
}

TEST_F(UploadCallTest, OneCallUploadsADataSetAtATime) {
  grpc::ClientContext first;
  const auto writer = stub_->UploadDataset(&first, &dataset_);
  ASSERT_TRUE(writer->Write(Header("a", "hello")));
  ASSERT_TRUE(writer->Write(Chunk("hel")));
  // Until the first has been heard of.
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  grpc::StatusCode code = grpc::StatusCode::OK;
  while (code != grpc::StatusCode::ABORTED && absl::Now() < deadline) {
    code = Upload({Header("a", "hello", 3), Chunk("lo")}).error_code();
    if (code == grpc::StatusCode::OK) break;
  }
  EXPECT_EQ(code, grpc::StatusCode::ABORTED);
  first.TryCancel();
  (void)writer->Finish();
}

TEST_F(UploadCallTest, ASenderWhoStopsIsGivenUpAndWhatCameIsKept) {
  grpc::ClientContext context;
  const auto writer = stub_->UploadDataset(&context, &dataset_);
  ASSERT_TRUE(writer->Write(Header("a", "hello")));
  ASSERT_TRUE(writer->Write(Chunk("hel")));
  const std::filesystem::path upload = UploadPath(state_, /*data_set=*/1);
  std::error_code missing;  // until the header has come
  while (std::filesystem::file_size(upload, missing) != 3) std::this_thread::yield();
  auto end = std::async(std::launch::async, [&] { return writer->Finish(); });
  clock_.AdvanceUntilReady(end, kWriteTimeMax / 100);
  EXPECT_EQ(end.get().error_code(), grpc::StatusCode::CANCELLED);
  grpc::Status status;  // ABORTED until the server has let go of the first call
  do {
    status = Upload({Header("a", "hello", 3), Chunk("lo")});
  } while (status.error_code() == grpc::StatusCode::ABORTED);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(UploadCallTest, AnExceptionAtTheEndEndsTheCallAndWhatCameIsKept) {
  grpc::ClientContext context;
  const auto writer = stub_->UploadDataset(&context, &dataset_);
  ASSERT_TRUE(writer->Write(Header("a", "hello")));
  ASSERT_TRUE(writer->Write(Chunk("hello")));
  WaitUntilThereIs("a");
  store_clock_.Arm();
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INTERNAL);
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  EXPECT_TRUE(Upload({Header("a", "hello", 5)}).ok());
}

TEST_F(UploadCallTest, ASenderWhoDoesNotReadTheAnswerIsGivenUp) {
  class_name_ = std::string(1'000'000, 'x');  // more than the window holds
  grpc::ClientContext context;
  const auto writer = stub_->UploadDataset(&context, &dataset_);
  ASSERT_TRUE(writer->Write(Header("a", "hello")));
  ASSERT_TRUE(writer->Write(Chunk("hello")));
  writer->WritesDone();
  WaitUntilThereIs("a");
  while (Get("a").state() != v1::Dataset::READY) {
  }
  auto none =
      std::async(std::launch::async, [&] { live_calls_.WaitUntilNone(absl::InfiniteFuture()); });
  clock_.AdvanceUntilReady(none, kWriteTimeMax / 100);
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(UploadCallTest, ADrainingServerTakesNothingMore) {
  live_calls_.StartDraining();
  EXPECT_EQ(Upload({Header("a", "x"), Chunk("x")}).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(UploadCallTest, ShortageOfMemoryRefusesANewUploadAndEndsNoneUnderWay) {
  grpc::ClientContext context;
  const auto writer = stub_->UploadDataset(&context, &dataset_);
  ASSERT_TRUE(writer->Write(Header("a", "hello")));
  WaitUntilThereIs("a");
  short_of_memory_ = true;
  EXPECT_EQ(Upload({Header("b", "x"), Chunk("x")}).error_code(), grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(writer->Write(Chunk("hello")));
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace denoise
