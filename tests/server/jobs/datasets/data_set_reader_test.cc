#include "server/jobs/datasets/data_set_reader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include "tests/server/jobs/datasets/data_set_store_testing.h"
#include "tests/support/unreadable.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::UploadHeader;

class DataSetReaderTest : public DataSetStoreTest {};

TEST_F(DataSetReaderTest, BytesThatAreNotWhatWasAnnouncedBeginAgain) {
  UploadHeader header = HeaderOf("announced");
  {
    auto upload = *store_->BeginUpload(header, Anyone());
    ASSERT_TRUE(upload->Append(Chunk("different")).ok());
    EXPECT_EQ(Finish(*upload).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Get()->state(), Dataset::UPLOADING);
  EXPECT_EQ(Get()->received_bytes(), 0);
  EXPECT_EQ(ingest_.reads, 0);

  EXPECT_TRUE(Upload("announced").ok());
}

TEST_F(DataSetReaderTest, WhatHoldsNoPictureFailsWithItsReport) {
  const auto uploaded = Upload("Empty");

  EXPECT_EQ(uploaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(Get()->error(), "holds no picture");
  EXPECT_EQ(Get()->report().pictures(), 5);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1) / "stored"));
  EXPECT_EQ(store_->FindReady("datasets/emoji", Anyone()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Delete().ok());
}

TEST_F(DataSetReaderTest, WhatFailedIsReplacedByTheNextUploadOfItsName) {
  ASSERT_FALSE(Upload("Empty").ok());
  ASSERT_FALSE(Upload("Empty again").ok());

  const auto replaced = Upload("pictures");

  ASSERT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(replaced->error(), "");
  EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji", Anyone())->path), "pictures");
  EXPECT_EQ(Upload("pictures").status().code(), absl::StatusCode::kAlreadyExists);
}

// P9: a reading that only ends when it is told to.
TEST_F(DataSetReaderTest, DeletingEndsAReading) {
  auto upload = *store_->BeginUpload(HeaderOf("Wait"), Anyone());
  ASSERT_TRUE(upload->Append(Chunk("Wait")).ok());
  std::promise<absl::StatusOr<Dataset>> result;
  ASSERT_TRUE(upload->Finish([&](const auto& data_set) { result.set_value(data_set); }).ok());

  EXPECT_TRUE(Delete().ok());

  EXPECT_EQ(result.get_future().get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
}

// P9: the caller has gone.
TEST_F(DataSetReaderTest, AReadingThatNobodyWaitsForEndsAndCanBeContinued) {
  std::atomic<bool> gone = false;
  auto upload = *store_->BeginUpload(HeaderOf("Wait"), Anyone());
  ASSERT_TRUE(upload->Append(Chunk("Wait")).ok());
  std::promise<absl::StatusOr<Dataset>> result;
  ASSERT_TRUE(upload
                  ->Finish([&](const auto& data_set) { result.set_value(data_set); },
                           [&] { return gone.load(); })
                  .ok());
  gone = true;

  EXPECT_EQ(result.get_future().get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Get()->state(), Dataset::UPLOADING);
  EXPECT_EQ(Get()->received_bytes(), 4);
  UploadHeader header = HeaderOf("Wait");
  header.set_offset(4);
  EXPECT_TRUE(store_->BeginUpload(header, Anyone()).ok());
}

// P9: uploads do not wait for one another.
TEST_F(DataSetReaderTest, AReadingWithoutEndKeepsNoOtherUploadWaiting) {
  auto endless = *store_->BeginUpload(HeaderOf("Wait", "datasets/endless"), Anyone());
  ASSERT_TRUE(endless->Append(Chunk("Wait")).ok());
  ASSERT_TRUE(endless->Finish([](auto) {}).ok());

  EXPECT_TRUE(Upload("pictures").ok());
}

TEST_F(DataSetReaderTest, AnUploadThatKillsTheServerIsGivenUp) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("Wait"), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("Wait")).ok());
    ASSERT_TRUE(upload->Finish([](auto) {}).ok());
  }
  std::filesystem::path state = temp_.path() / "state";
  for (int crash = 0; crash < 3; ++crash) {
    while (ingest_.reads <= crash) std::this_thread::yield();  // it has begun
    const std::filesystem::path crashed = temp_.path() / std::to_string(crash);
    CopyState(state, crashed);
    store_.reset();
    open_ = std::make_unique<OpenState>(crashed);
    store_ = OpenStore(*open_);
    state = crashed;
  }
  while (Get()->state() == Dataset::READING) std::this_thread::yield();
  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(
      Get()->error(),
      "the server ended 3 times while it read this upload; upload it again, in smaller parts");
}

TEST_F(DataSetReaderTest, ABugInReadingFailsTheDataSetAndTellsNothingOfTheInside) {
  EXPECT_FALSE(Upload("Throws").ok());

  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(Get()->error(), "the data set could not be read");
}

TEST_F(DataSetReaderTest, AFullDiskWhileReadingIsTriedAgain) {
  EXPECT_EQ(Upload("Disk").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Get()->state(), Dataset::READING);

  ASSERT_TRUE(store_->Housekeep().ok());

  UploadHeader header = HeaderOf("Disk");
  header.set_offset(4);
  auto upload = store_->BeginUpload(header, Anyone());  // READY already, or it waits until it is
  if (upload.ok()) {
    EXPECT_TRUE(Finish(**upload).ok());
  }
  EXPECT_EQ(Get()->state(), Dataset::READY);
}

TEST_F(DataSetReaderTest, AFullDiskWhileReadingIsTriedAgainAMinuteLater) {
  EXPECT_EQ(Upload("Disk").status().code(), absl::StatusCode::kResourceExhausted);
  std::promise<void> reads_again, go_on;
  ingest_.after_growing = [&] {
    reads_again.set_value();
    go_on.get_future().wait();
  };

  open_->clock.Advance(absl::Minutes(1));

  reads_again.get_future().wait();
  UploadHeader header = HeaderOf("Disk");
  header.set_offset(4);
  auto upload = *store_->BeginUpload(header, Anyone());
  go_on.set_value();
  EXPECT_EQ(Finish(*upload)->state(), Dataset::READY);
}

TEST_F(DataSetReaderTest, ACrashWhileReadingReadsAgain) {
  std::promise<void> open_gate;
  std::shared_future<void> gate = open_gate.get_future().share();
  ingest_.gate = &gate;
  {
    auto upload = *store_->BeginUpload(HeaderOf("pictures"), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
    ASSERT_TRUE(upload->Finish([](auto) {}).ok());
  }
  EXPECT_EQ(Get()->state(), Dataset::READING);
  CopyState(temp_.path() / "state", temp_.path() / "crashed");
  WriteFile(temp_.path() / "crashed" / "datasets" / "1" / "stored", "half of it");
  open_gate.set_value();

  OpenState crashed(temp_.path() / "crashed");
  const auto store = OpenStore(crashed);
  UploadHeader header = HeaderOf("pictures");
  header.set_offset(8);
  auto upload = store->BeginUpload(header, Anyone());  // the answer to the first call was lost
  if (upload.ok()) {
    EXPECT_TRUE(Finish(**upload).ok());
  }
  EXPECT_TRUE(store->FindReady("datasets/emoji", Anyone()).ok());
}

// A data set that a server has taken up again is verified; there is no upload to read it from.
class DataSetVerificationTest : public DataSetReaderTest {
 protected:
  DataSetVerificationTest() {
    EXPECT_TRUE(Upload("pictures").ok());
    stored_ = open_->state.data_set(1) / "stored";
    store_.reset();
    EXPECT_TRUE(open_->database
                    ->Write([&](SQLite::Database& connection) {
                      WriteDataSetState(connection, 1, Dataset::READING, "", nullptr);
                      return absl::OkStatus();
                    })
                    .ok());
  }

  absl::StatusOr<Dataset> Verify(bool caller_is_gone) {
    DataSetReader reader(open_->database.get(), &open_->state, quota_, std::ref(ingest_),
                         &open_->clock, &observer_, [] {});
    std::promise<absl::StatusOr<Dataset>> result;
    EXPECT_TRUE(reader.Add(1, {[&](auto data_set) { result.set_value(std::move(data_set)); },
                               [&] { return caller_is_gone; }}));
    return result.get_future().get();
  }

  std::filesystem::path stored_;
};

TEST_F(DataSetVerificationTest, WhatCannotBeReadNowIsTriedAgain) {
  {
    const Unreadable unreadable(stored_);
    EXPECT_EQ(Verify(/*caller_is_gone=*/false).status().code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(ReadFile(stored_), "pictures");
  EXPECT_EQ(Verify(/*caller_is_gone=*/false)->state(), Dataset::READY);
}

TEST_F(DataSetVerificationTest, NothingIsThrownAwayBecauseACallerHasGone) {
  EXPECT_FALSE(Verify(/*caller_is_gone=*/true).ok());
  EXPECT_EQ(ReadFile(stored_), "pictures");
  EXPECT_EQ(Verify(/*caller_is_gone=*/false)->state(), Dataset::READY);
}

TEST_F(DataSetVerificationTest, WithoutItsManifestItIsKeptButNotUsed) {
  std::filesystem::remove(open_->state.data_set(1) / "manifest.json");
  EXPECT_EQ(Verify(/*caller_is_gone=*/false).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadFile(stored_.string() + ".damaged"), "pictures");
}

TEST_F(DataSetReaderTest, WhoeverAwaitsReadingHearsThatTheServerStops) {
  auto before = *store_->BeginUpload(HeaderOf("Wait", "datasets/a"), Anyone());
  ASSERT_TRUE(before->Append(Chunk("Wait")).ok());
  auto after = *store_->BeginUpload(HeaderOf("more", "datasets/b"), Anyone());
  ASSERT_TRUE(after->Append(Chunk("more")).ok());
  std::promise<absl::StatusOr<Dataset>> result;
  ASSERT_TRUE(before->Finish([&](const auto& data_set) { result.set_value(data_set); }).ok());

  store_->Stop();
  EXPECT_EQ(result.get_future().get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Finish(*after).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Get("datasets/a")->state(), Dataset::READING);
  EXPECT_EQ(Get("datasets/b")->state(), Dataset::READING);
}

}  // namespace
}  // namespace denoise
