#include "server/jobs/data_set_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "core/base/error_details.h"
#include "core/base/sha256.h"
#include "tests/core/io/full_disk.h"
#include "tests/server/jobs/state_testing.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::UploadChunk;
using denoised::v1::UploadHeader;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return absl::HexStringToBytes(hash.Finish());
}

UploadHeader HeaderOf(const std::string& bytes, const std::string& name = "datasets/emoji") {
  UploadHeader header;
  header.set_name(name);
  header.set_format(denoised::v1::DATASET_FORMAT_TAR);
  header.set_total_bytes(static_cast<int64_t>(bytes.size()));
  header.set_sha256(Sha256Of(bytes));
  return header;
}

UploadChunk Chunk(const std::string& bytes) {
  UploadChunk chunk;
  chunk.set_data(bytes);
  return chunk;
}

// A reader of uploads that counts bytes, and does what the first byte says.
class FakeIngest {
 public:
  IngestResult operator()(denoised::v1::DatasetFormat, const std::filesystem::path& upload,
                          const std::filesystem::path& stored,
                          const std::function<bool()>& stopped) {
    if (gate) gate->wait();
    EXPECT_FALSE(std::filesystem::exists(stored));
    std::filesystem::create_directory(stored);
    const std::string bytes = ReadFile(upload);
    WriteFile(stored / "pictures", bytes);
    ++reads;
    IngestResult result;
    result.report.set_pictures(static_cast<int64_t>(bytes.size()));
    if (bytes[0] == 'E') result.status = absl::InvalidArgumentError("holds no picture");
    if (bytes[0] == 'D' && reads == 1) result.status = absl::ResourceExhaustedError("full");
    while (bytes[0] == 'W' && !stopped()) absl::SleepFor(absl::Milliseconds(1));
    if (stopped()) result.status = absl::UnavailableError("stopped");
    if (bytes[0] == 'T') throw std::runtime_error("/secret/path");
    return result;
  }

  std::shared_future<void>* gate = nullptr;
  int reads = 0;
};

class DataSetStoreTest : public ::testing::Test {
 protected:
  DataSetStoreTest() { Open(); }

  // What the next start of the server finds.
  void Reopen() {
    store_.reset();
    open_.reset();
    Open();
  }
  void Open() {
    open_ = std::make_unique<OpenState>(temp_.path() / "state");
    store_ = OpenStore(*open_);
  }
  std::unique_ptr<DataSetStore> OpenStore(OpenState& state) {
    return OpenState::Unwrap(DataSetStore::Open(
        state.database.get(), &state.state, quota_,
        [this](auto format, const auto& upload, const auto& stored, const auto& stopped) {
          return ingest_(format, upload, stored, stopped);
        },
        &state.clock, /*observer=*/nullptr));
  }

  // Sends the rest of `bytes` in one go and waits.
  absl::StatusOr<Dataset> Upload(const std::string& bytes, int64_t offset = 0,
                                 const std::string& name = "datasets/emoji") {
    UploadHeader header = HeaderOf(bytes, name);
    header.set_offset(offset);
    auto upload = store_->BeginUpload(header);
    if (!upload.ok()) return upload.status();
    if (offset < header.total_bytes()) {
      const absl::Status appended = (*upload)->Append(Chunk(bytes.substr(offset)));
      if (!appended.ok()) return appended;
    }
    return Finish(**upload);
  }
  static absl::StatusOr<Dataset> Finish(DataSetUpload& upload) {
    std::promise<absl::StatusOr<Dataset>> result;
    const absl::Status status =
        upload.Finish([&](absl::StatusOr<Dataset> data_set) { result.set_value(data_set); });
    if (!status.ok()) return status;
    return result.get_future().get();
  }
  absl::StatusOr<Dataset> Get(const std::string& name = "datasets/emoji") {
    denoised::v1::GetDatasetRequest request;
    request.set_name(name);
    return store_->Get(request);
  }
  absl::Status Delete(const std::string& name = "datasets/emoji") {
    denoised::v1::DeleteDatasetRequest request;
    request.set_name(name);
    return store_->Delete(request);
  }
  int64_t CreateJobOn(int64_t data_set) {
    JobStore::NewJob job;
    job.id = *open_->jobs.ReserveId();
    job.data_sets = {data_set};
    job.max_waiting = 10;
    const auto created = open_->jobs.Create(job);
    EXPECT_TRUE(created.ok()) << created.status();
    return job.id;
  }

  TempDir temp_;
  DataSetQuota quota_ = {.data_sets = 3, .total_bytes = 100 << 20, .data_set_bytes = 50 << 20};
  FakeIngest ingest_;
  std::unique_ptr<OpenState> open_;
  std::unique_ptr<DataSetStore> store_;
};

TEST_F(DataSetStoreTest, AnUploadBecomesADataSet) {
  const auto uploaded = Upload("some pictures");

  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  EXPECT_EQ(uploaded->state(), Dataset::READY);
  EXPECT_EQ(uploaded->report().pictures(), 13);
  Reopen();
  EXPECT_EQ(Get()->state(), Dataset::READY);
  EXPECT_EQ(Get()->received_bytes(), 13);
  const auto stored = store_->FindReady("datasets/emoji");
  EXPECT_EQ(ReadFile(stored->path / "pictures"), "some pictures");
  EXPECT_FALSE(std::filesystem::exists(stored->path.parent_path() / "upload"));
}

TEST_F(DataSetStoreTest, AnUploadThatBreaksOffGoesOnWhereItsBytesAreSafe) {
  const std::string bytes = "0123456789";
  {
    auto upload = *store_->BeginUpload(HeaderOf(bytes));
    ASSERT_TRUE(upload->Append(Chunk("0123")).ok());
  }
  Reopen();
  EXPECT_EQ(Get()->state(), Dataset::UPLOADING);
  EXPECT_EQ(Get()->received_bytes(), 4);

  const absl::Status elsewhere = Upload(bytes, 0).status();
  EXPECT_EQ(elsewhere.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetErrorMetadata(elsewhere), ElementsAre(Pair("received_bytes", "4")));
  EXPECT_TRUE(Upload(bytes, 4).ok());

  EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji")->path / "pictures"), bytes);
}

// At any moment, what is promised is on the disk, and no byte of it is sent twice.
TEST_F(DataSetStoreTest, ReceivedBytesOutliveTheServerWheneverItDies) {
  std::string bytes;
  for (int i = 0; i < 20 << 20; ++i) bytes.push_back(static_cast<char>(i * 7 + (i >> 12)));
  auto upload = *store_->BeginUpload(HeaderOf(bytes));
  int64_t promised = 0;
  for (int64_t sent = 0; sent < int64_t{18} << 20; sent += 1 << 20) {
    ASSERT_TRUE(upload->Append(Chunk(bytes.substr(sent, 1 << 20))).ok());
    const int64_t received = Get()->received_bytes();
    EXPECT_LE(received, sent + (1 << 20));
    EXPECT_GE(received, promised);
    promised = received;
  }
  EXPECT_EQ(promised, int64_t{16} << 20);

  CopyState(temp_.path() / "state", temp_.path() / "crashed");
  OpenState crashed(temp_.path() / "crashed");
  const auto store = OpenStore(crashed);
  UploadHeader header = HeaderOf(bytes);
  header.set_offset(promised);
  auto rest = store->BeginUpload(header);
  ASSERT_TRUE(rest.ok()) << rest.status();
  for (int64_t sent = promised; sent < int64_t{20} << 20; sent += 1 << 20) {
    ASSERT_TRUE((*rest)->Append(Chunk(bytes.substr(sent, 1 << 20))).ok());
  }
  EXPECT_EQ(Finish(**rest)->state(), Dataset::READY);
}

TEST_F(DataSetStoreTest, ASpoolThatLostBytesPromisesOnlyWhatItHas) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("0123456789"));
    ASSERT_TRUE(upload->Append(Chunk("01234567")).ok());
  }
  std::filesystem::resize_file(open_->state.data_set(1) / "upload", 3);
  Reopen();

  EXPECT_EQ(Get()->received_bytes(), 3);
  EXPECT_TRUE(Upload("0123456789", 3).ok());
}

TEST_F(DataSetStoreTest, OneCallUploadsADataSetAtATime) {
  auto first = *store_->BeginUpload(HeaderOf("0123456789"));

  EXPECT_EQ(store_->BeginUpload(HeaderOf("0123456789")).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(Delete().code(), absl::StatusCode::kFailedPrecondition);

  first.reset();
  EXPECT_TRUE(store_->BeginUpload(HeaderOf("0123456789")).ok());
}

TEST_F(DataSetStoreTest, BytesThatAreNotWhatWasAnnouncedBeginAgain) {
  UploadHeader header = HeaderOf("announced");
  {
    auto upload = *store_->BeginUpload(header);
    ASSERT_TRUE(upload->Append(Chunk("different")).ok());
    EXPECT_EQ(Finish(*upload).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Get()->state(), Dataset::UPLOADING);
  EXPECT_EQ(Get()->received_bytes(), 0);
  EXPECT_EQ(ingest_.reads, 0);

  EXPECT_TRUE(Upload("announced").ok());
}

TEST_F(DataSetStoreTest, AChunkThatIsWrongKeepsWhatCameBefore) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("0123456789"));
    ASSERT_TRUE(upload->Append(Chunk("0123")).ok());
    UploadChunk damaged = Chunk("4567");
    damaged.set_crc32(1);
    EXPECT_EQ(upload->Append(damaged).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Get()->received_bytes(), 4);
}

TEST_F(DataSetStoreTest, MoreOrLessThanWasAnnouncedIsRefused) {
  auto upload = *store_->BeginUpload(HeaderOf("0123456789"));
  ASSERT_TRUE(upload->Append(Chunk("01234567")).ok());
  EXPECT_EQ(upload->Append(Chunk("89x")).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Finish(*upload).status().message()), HasSubstr("only 8 bytes came"));
}

TEST_F(DataSetStoreTest, WhatHoldsNoPictureFailsWithItsReport) {
  const auto uploaded = Upload("Empty");

  EXPECT_EQ(uploaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(Get()->error(), "holds no picture");
  EXPECT_EQ(Get()->report().pictures(), 5);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1) / "stored"));
  EXPECT_EQ(Upload("Empty").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->FindReady("datasets/emoji").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Delete().ok());
}

TEST_F(DataSetStoreTest, ABugInReadingFailsTheDataSetAndTellsNothingOfTheInside) {
  EXPECT_FALSE(Upload("Throws").ok());

  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(Get()->error(), "the data set could not be read");
}

TEST_F(DataSetStoreTest, AFullDiskWhileReadingIsTriedAgain) {
  EXPECT_EQ(Upload("Disk").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Get()->state(), Dataset::READING);

  ASSERT_TRUE(store_->Housekeep().ok());

  UploadHeader header = HeaderOf("Disk");
  header.set_offset(4);
  auto upload = store_->BeginUpload(header);  // READY already, or it waits until it is
  if (upload.ok()) {
    EXPECT_TRUE(Finish(**upload).ok());
  }
  EXPECT_EQ(Get()->state(), Dataset::READY);
}

TEST_F(DataSetStoreTest, AFullDiskWhileUploadingKeepsWhatIsSafe) {
  std::string bytes(3 << 20, 'x');
  {
    auto upload = *store_->BeginUpload(HeaderOf(bytes));
    ASSERT_TRUE(upload->Append(Chunk(bytes.substr(0, 1 << 20))).ok());
    {
      const FullDisk full((1 << 20) + 4096, FullDisk::Then::kError);
      const absl::Status status = upload->Append(Chunk(bytes.substr(0, 1 << 20)));
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(status.message(), "the server's disk is full");
    }
  }
  const int64_t received = Get()->received_bytes();
  EXPECT_EQ(received, (1 << 20) + 4096);
  UploadHeader header = HeaderOf(bytes);
  header.set_offset(received);
  EXPECT_TRUE(store_->BeginUpload(header).ok());
}

TEST_F(DataSetStoreTest, ACrashWhileReadingReadsAgain) {
  std::promise<void> open_gate;
  std::shared_future<void> gate = open_gate.get_future().share();
  ingest_.gate = &gate;
  {
    auto upload = *store_->BeginUpload(HeaderOf("pictures"));
    ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
    ASSERT_TRUE(upload->Finish([](auto) {}).ok());
  }
  EXPECT_EQ(Get()->state(), Dataset::READING);
  EXPECT_EQ(Delete().code(), absl::StatusCode::kFailedPrecondition);
  CopyState(temp_.path() / "state", temp_.path() / "crashed");
  std::filesystem::create_directory(temp_.path() / "crashed" / "datasets" / "1" / "stored");
  open_gate.set_value();

  OpenState crashed(temp_.path() / "crashed");
  const auto store = OpenStore(crashed);
  UploadHeader header = HeaderOf("pictures");
  header.set_offset(8);
  auto upload = store->BeginUpload(header);  // the answer to the first call was lost
  if (upload.ok()) {
    EXPECT_TRUE(Finish(**upload).ok());
  }
  EXPECT_TRUE(store->FindReady("datasets/emoji").ok());
}

TEST_F(DataSetStoreTest, WhoeverAwaitsReadingHearsThatTheServerStops) {
  auto before = *store_->BeginUpload(HeaderOf("Wait", "datasets/a"));
  ASSERT_TRUE(before->Append(Chunk("Wait")).ok());
  auto after = *store_->BeginUpload(HeaderOf("more", "datasets/b"));
  ASSERT_TRUE(after->Append(Chunk("more")).ok());
  std::promise<absl::StatusOr<Dataset>> result;
  ASSERT_TRUE(before->Finish([&](const auto& data_set) { result.set_value(data_set); }).ok());

  store_->Stop();
  EXPECT_EQ(result.get_future().get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Finish(*after).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Get("datasets/a")->state(), Dataset::READING);
  EXPECT_EQ(Get("datasets/b")->state(), Dataset::READING);
}

TEST_F(DataSetStoreTest, WhoHasHeardThatItIsReadyMayDeleteIt) {
  auto upload = *store_->BeginUpload(HeaderOf("pictures"));
  ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
  ASSERT_TRUE(Finish(*upload).ok());
  EXPECT_TRUE(Delete().ok());  // although the call that uploaded it has not gone yet
}

TEST_F(DataSetStoreTest, QuotasAreKept) {
  ASSERT_TRUE(Upload("1", 0, "datasets/a").ok());
  ASSERT_TRUE(Upload("2", 0, "datasets/b").ok());
  ASSERT_TRUE(Upload("3", 0, "datasets/c").ok());
  EXPECT_EQ(GetQuotaViolation(Upload("4", 0, "datasets/d").status())->subject, "datasets");

  ASSERT_TRUE(Delete("datasets/b").ok());

  EXPECT_TRUE(Upload("4", 0, "datasets/d").ok());
}

TEST_F(DataSetStoreTest, AnUploadThatIsNotContinuedIsRemoved) {
  (void)*store_->BeginUpload(HeaderOf("0123456789"));
  open_->clock.Advance(absl::Hours(23));
  ASSERT_TRUE(store_->Housekeep().ok());
  EXPECT_TRUE(Get().ok());
  open_->clock.Advance(absl::Hours(2));
  auto alive = *store_->BeginUpload(HeaderOf("0123456789", "datasets/alive"));
  open_->clock.Advance(absl::Hours(48));

  ASSERT_TRUE(store_->Housekeep().ok());

  EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
  EXPECT_TRUE(Get("datasets/alive").ok());  // a call is still at it
}

TEST_F(DataSetStoreTest, ADataSetThatAJobNeedsIsNotDeleted) {
  ASSERT_TRUE(Upload("pictures").ok());
  const int64_t job = CreateJobOn(store_->FindReady("datasets/emoji")->id);

  const absl::Status refused = Delete();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("trainingJobs/1"));

  ASSERT_TRUE(open_->jobs.Apply(job, JobAction::kCancel).ok());
  EXPECT_TRUE(Delete().ok());
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
  EXPECT_TRUE(open_->jobs.Get(job).ok());
}

TEST_F(DataSetStoreTest, NamesAreCheckedAndMissingOnesNamed) {
  EXPECT_EQ(Get("emoji").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetResource(Get("datasets/absent").status())->name, "datasets/absent");
  EXPECT_EQ(Delete("datasets/absent").code(), absl::StatusCode::kNotFound);
}

TEST_F(DataSetStoreTest, AListIsByNamePageByPage) {
  for (const char* name : {"datasets/c", "datasets/a", "datasets/b"}) {
    ASSERT_TRUE(Upload("x", 0, name).ok());
  }
  denoised::v1::ListDatasetsRequest request;
  request.set_page_size(2);
  const auto first = *store_->List(request);
  request.set_page_token(first.next_page_token());
  const auto second = *store_->List(request);

  ASSERT_EQ(first.datasets_size(), 2);
  EXPECT_EQ(first.datasets(0).name(), "datasets/a");
  EXPECT_EQ(first.datasets(1).name(), "datasets/b");
  ASSERT_EQ(second.datasets_size(), 1);
  EXPECT_EQ(second.datasets(0).name(), "datasets/c");
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("made up");
  EXPECT_EQ(store_->List(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(DataSetStoreTest, FoldersThatNoRowKnowsAreRemoved) {
  std::filesystem::create_directory(open_->state.data_set(77));
  Reopen();

  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(77)));
}

}  // namespace
}  // namespace denoise
