#include "server/jobs/datasets/data_set_quota.h"

#include <SQLiteCpp/Database.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "server/jobs/store/schema.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using ::testing::HasSubstr;

constexpr DataSetQuota kQuota = {
    .data_sets = 2, .total_bytes = int64_t{5} << 30, .data_set_bytes = int64_t{3} << 30};

// What is used up, and how it is said.
std::string SubjectOf(const absl::Status& status) {
  const auto violation = GetQuotaViolation(status);
  return violation ? violation->subject : status.ToString();
}

TEST(DataSetQuota, BoundsTheNumberAndTheBytes) {
  denoised::v1::UploadHeader header;
  header.set_total_bytes(int64_t{2} << 30);
  const int64_t left = int64_t{4} << 30;  // for the upload, and for what is stored of it
  EXPECT_TRUE(
      CheckQuota(header, kQuota, {.data_sets = 1, .bytes = (int64_t{5} << 30) - left}).ok());
  EXPECT_EQ(SubjectOf(CheckQuota(header, kQuota, {.data_sets = 2, .bytes = 0})), "datasets");
  const absl::Status full =
      CheckQuota(header, kQuota, {.data_sets = 1, .bytes = (int64_t{5} << 30) - left + 1});
  EXPECT_EQ(SubjectOf(full), "datasets/bytes");
  EXPECT_THAT(std::string(full.message()), HasSubstr("this one takes 4294967296"));
  header.set_total_bytes((int64_t{3} << 30) + 1);
  EXPECT_EQ(SubjectOf(CheckQuota(header, kQuota, {})), "datasets/bytes");
}

TEST(DataSetQuota, RoomToStoreIsTakenAHandfulAtATimeAsLongAsThereIsSome) {
  const DataSetUsage usage = {.data_sets = 2, .bytes = (int64_t{4} << 30) + 1000};
  const int64_t left = (int64_t{1} << 30) - 1000;
  EXPECT_EQ(*RoomToStore(101, 100, kQuota, usage), 101 + (64 << 20));
  EXPECT_EQ(*RoomToStore(left + 100, 100, kQuota, usage), left + 100);  // with what it has
  EXPECT_EQ(SubjectOf(RoomToStore(left + 101, 100, kQuota, usage).status()), "datasets/bytes");
  EXPECT_EQ(*RoomToStore(int64_t{3} << 30, 100, kQuota, {}), int64_t{3} << 30);
  const absl::Status too_large = RoomToStore((int64_t{3} << 30) + 1, 100, kQuota, {}).status();
  EXPECT_EQ(SubjectOf(too_large), "datasets/bytes");
  EXPECT_THAT(std::string(too_large.message()), HasSubstr("more than 3221225472 bytes"));
}

// All data sets may have 100 bytes, and each 60.
class DataSetQuotaTest : public DataSetStoreTest {
 protected:
  DataSetQuotaTest() {
    quota_ = {.data_sets = 10, .total_bytes = 100, .data_set_bytes = 60};
    Reopen();
  }

  absl::Status UploadBytes(size_t bytes, const std::string& name) {
    return Upload(std::string(bytes, 'x'), 0, name).status();
  }
  // Sends all of an upload and lets it be read.
  std::future<absl::StatusOr<Dataset>> BeginReading(const std::string& bytes,
                                                    const std::string& name) {
    auto upload = *store_->BeginUpload(HeaderOf(bytes, name), Anyone());
    EXPECT_TRUE(upload->Append(Chunk(bytes)).ok());
    const auto result = std::make_shared<std::promise<absl::StatusOr<Dataset>>>();
    EXPECT_TRUE(upload->Finish([=](const auto& data_set) { result->set_value(data_set); }).ok());
    return result->get_future();
  }
};

TEST_F(DataSetQuotaTest, BoundsTheNumber) {
  quota_.data_sets = 3;
  Reopen();
  ASSERT_TRUE(UploadBytes(1, "datasets/a").ok());
  ASSERT_TRUE(UploadBytes(1, "datasets/b").ok());
  ASSERT_TRUE(UploadBytes(1, "datasets/c").ok());
  EXPECT_EQ(SubjectOf(UploadBytes(1, "datasets/d")), "datasets");

  ASSERT_TRUE(Delete("datasets/b").ok());

  EXPECT_TRUE(UploadBytes(1, "datasets/d").ok());
}

TEST_F(DataSetQuotaTest, AnUploadTakesItsSizeTwiceUntilItHasBeenRead) {
  EXPECT_EQ(SubjectOf(UploadBytes(51, "datasets/a")), "datasets/bytes");
  auto upload = *store_->BeginUpload(HeaderOf(std::string(30, 'x'), "datasets/a"), Anyone());
  EXPECT_EQ(SubjectOf(UploadBytes(21, "datasets/b")), "datasets/bytes");
  upload.reset();
  ASSERT_TRUE(UploadBytes(30, "datasets/a").ok());

  EXPECT_EQ(SubjectOf(UploadBytes(36, "datasets/b")), "datasets/bytes");
  EXPECT_TRUE(UploadBytes(35, "datasets/b").ok());
}

TEST_F(DataSetQuotaTest, WhatIsStoredIsToldAndCounts) {
  ingest_.stored_bytes = 50;
  ASSERT_TRUE(UploadBytes(1, "datasets/emoji").ok());
  EXPECT_EQ(Get()->stored_bytes(), 50);
  Reopen();
  EXPECT_EQ(Get()->stored_bytes(), 50);

  ingest_.stored_bytes = 1;
  EXPECT_EQ(SubjectOf(UploadBytes(26, "datasets/b")), "datasets/bytes");
  ASSERT_TRUE(UploadBytes(25, "datasets/b").ok());
  EXPECT_EQ(Get("datasets/b")->stored_bytes(), 1);  // what was set aside is free again
  EXPECT_TRUE(UploadBytes(24, "datasets/c").ok());
}

TEST_F(DataSetQuotaTest, NothingIsStoredBeforeItHasBeenRead) {
  (void)*store_->BeginUpload(HeaderOf("pictures"), Anyone());
  EXPECT_EQ(Get()->stored_bytes(), 0);
}

TEST_F(DataSetQuotaTest, AnUploadThatUnpacksToMoreThanADataSetMayHaveFails) {
  ingest_.stored_bytes = 61;
  EXPECT_EQ(SubjectOf(UploadBytes(1, "datasets/emoji")), "datasets/bytes");

  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_EQ(Get()->error(),
            "its unpacked pictures take more than 60 bytes, the maximum for a data set");
  EXPECT_EQ(Get()->report().pictures(), 1);
  EXPECT_EQ(Get()->stored_bytes(), 0);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
  ASSERT_TRUE(store_->Housekeep().ok());
  EXPECT_EQ(ingest_.reads, 1);  // it would be no smaller
  ingest_.stored_bytes.reset();
  EXPECT_TRUE(UploadBytes(50, "datasets/b").ok());  // it takes no room
}

TEST_F(DataSetQuotaTest, AnUploadThatUnpacksToMoreThanIsLeftFails) {
  ingest_.stored_bytes = 55;
  ASSERT_TRUE(UploadBytes(10, "datasets/a").ok());
  ingest_.stored_bytes = 45;  // beside an upload of one byte
  EXPECT_EQ(SubjectOf(UploadBytes(1, "datasets/emoji")), "datasets/bytes");

  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_THAT(Get()->error(), HasSubstr("more than the 44 bytes that are left of the 100"));
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(2)));
  ingest_.stored_bytes = 44;
  EXPECT_TRUE(UploadBytes(1, "datasets/c").ok());
}

TEST_F(DataSetQuotaTest, OfUploadsThatBeginAtOnceThoseBeginThatFit) {
  std::atomic<int> begun = 0;
  std::vector<std::unique_ptr<DataSetUpload>> uploads(8);
  std::vector<std::thread> callers;
  for (size_t i = 0; i < uploads.size(); ++i) {
    callers.emplace_back([&, i] {
      auto upload = store_->BeginUpload(
          HeaderOf(std::string(16, 'x'), absl::StrCat("datasets/", i)), Anyone());
      if (!upload.ok()) return;
      uploads[i] = *std::move(upload);
      ++begun;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(begun, 3);  // 32 bytes each
}

TEST_F(DataSetQuotaTest, RoomThatIsTakenWhileReadingIsNobodyElses) {
  std::promise<void> grown;
  std::promise<void> go_on;
  ingest_.stored_bytes = 50;
  ingest_.after_growing = [&] {
    grown.set_value();
    go_on.get_future().wait();
  };
  auto first = BeginReading("x", "datasets/a");
  grown.get_future().wait();
  // What it has taken is all that one data set may store, 60: with its upload 39 are left.
  EXPECT_EQ(
      SubjectOf(
          store_->BeginUpload(HeaderOf(std::string(20, 'x'), "datasets/b"), Anyone()).status()),
      "datasets/bytes");
  EXPECT_TRUE(store_->BeginUpload(HeaderOf(std::string(19, 'x'), "datasets/b"), Anyone()).ok());
  go_on.set_value();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(DataSetQuotaTest, RoomThatAnUploadHasIsNotTakenWhileReading) {
  std::promise<void> open_gate;
  std::shared_future<void> gate = open_gate.get_future().share();
  ingest_.gate = &gate;
  ingest_.stored_bytes = 50;
  auto first = BeginReading("x", "datasets/a");
  auto second = *store_->BeginUpload(HeaderOf(std::string(25, 'x'), "datasets/b"), Anyone());
  open_gate.set_value();
  EXPECT_EQ(SubjectOf(first.get().status()), "datasets/bytes");  // 49 are left
  EXPECT_EQ(Get("datasets/a")->state(), Dataset::FAILED);
}

TEST_F(DataSetQuotaTest, WhoeverHasTakenRoomHasItAgainAfterACrash) {
  std::promise<void> grown;
  std::promise<void> go_on;
  ingest_.stored_bytes = 60;
  ingest_.after_growing = [&] {
    grown.set_value();
    go_on.get_future().wait();
  };
  auto lost = BeginReading(std::string(40, 'x'), "datasets/a");  // takes 100 in all
  grown.get_future().wait();
  CopyState(temp_.path() / "state", temp_.path() / "crashed");
  go_on.set_value();
  EXPECT_TRUE(lost.get().ok());
  ingest_.after_growing = nullptr;
  std::promise<void> open_gate;
  std::shared_future<void> gate = open_gate.get_future().share();
  ingest_.gate = &gate;

  OpenState crashed(temp_.path() / "crashed");
  const auto store = OpenStore(crashed);
  EXPECT_EQ(SubjectOf(store->BeginUpload(HeaderOf("y", "datasets/b"), Anyone()).status()),
            "datasets/bytes");
  open_gate.set_value();
  denoised::v1::UploadHeader header = HeaderOf(std::string(40, 'x'), "datasets/a");
  header.set_offset(40);
  auto upload = store->BeginUpload(header, Anyone());  // unless it has been read already
  if (upload.ok()) {
    EXPECT_TRUE(Finish(**upload).ok());
  }
  EXPECT_EQ(store->FindReady("datasets/a", Anyone())->data_set.stored_bytes(), 60);
}

// What version 1 kept: uploads were counted, what is stored of them was not.
TEST_F(DataSetQuotaTest, DataSetsOfBeforeThereWasAQuotaOfWhatIsStoredAreMeasured) {
  const std::filesystem::path path = temp_.path() / "old";
  {
    const StateDir state = *StateDir::Open(path);
    std::filesystem::create_directory(state.data_set(1));
    WriteFile(state.data_set(1) / "stored", std::string(50, 's'));
    std::filesystem::create_directory(state.data_set(2));
    WriteFile(state.data_set(2) / "upload", "0123");
    SQLite::Database old(state.database(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    old.exec(Migrations()[0]);
    old.exec(absl::StrCat("PRAGMA user_version = 1; PRAGMA application_id = ", kApplicationId));
    for (const char* row : {"1, 'datasets/ready', 3, 1, 0, 0, 7, 7",
                            "2, 'datasets/new', 1, 1, 0, "
                            "1000000000000000000, 10, 4"}) {
      old.exec(absl::StrCat("INSERT INTO data_sets VALUES (", row, ", x'00', NULL, '')"));
    }
  }
  OpenState state(path);
  const auto store = OpenStore(state);
  EXPECT_EQ(store->FindReady("datasets/ready", Anyone())->data_set.stored_bytes(), 50);
  // 50 are stored, 20 are for the upload that goes on.
  EXPECT_EQ(
      SubjectOf(
          store->BeginUpload(HeaderOf(std::string(16, 'x'), "datasets/b"), Anyone()).status()),
      "datasets/bytes");
  EXPECT_TRUE(store->BeginUpload(HeaderOf(std::string(15, 'x'), "datasets/b"), Anyone()).ok());
}

}  // namespace
}  // namespace denoise
