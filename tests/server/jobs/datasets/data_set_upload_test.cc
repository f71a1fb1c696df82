#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "core/base/error_details.h"
#include "tests/core/files/full_disk.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::UploadChunk;
using denoised::v1::UploadHeader;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class DataSetUploadTest : public DataSetStoreTest {};

TEST_F(DataSetUploadTest, AnUploadBecomesADataSet) {
  const auto uploaded = Upload("some pictures");

  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  EXPECT_EQ(uploaded->state(), Dataset::READY);
  EXPECT_EQ(uploaded->report().pictures(), 13);
  Reopen();
  EXPECT_EQ(Get()->state(), Dataset::READY);
  EXPECT_EQ(Get()->received_bytes(), 13);
  const auto stored = store_->FindReady("datasets/emoji", Anyone());
  EXPECT_EQ(ReadFile(stored->path), "some pictures");
  EXPECT_FALSE(std::filesystem::exists(stored->path.parent_path() / "upload"));
}

TEST_F(DataSetUploadTest, AnUploadThatBreaksOffGoesOnWhereItsBytesAreSafe) {
  const std::string bytes = "0123456789";
  {
    auto upload = *store_->BeginUpload(HeaderOf(bytes), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("0123")).ok());
  }
  Reopen();
  EXPECT_EQ(Get()->state(), Dataset::UPLOADING);
  EXPECT_EQ(Get()->received_bytes(), 4);

  const absl::Status elsewhere = Upload(bytes, 0).status();
  EXPECT_EQ(elsewhere.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetErrorMetadata(elsewhere), ElementsAre(Pair("received_bytes", "4")));
  EXPECT_TRUE(Upload(bytes, 4).ok());

  EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji", Anyone())->path), bytes);
}

// At any moment, what is promised is on the disk, and no byte of it is sent twice.
TEST_F(DataSetUploadTest, ReceivedBytesOutliveTheServerWheneverItDies) {
  std::string bytes;
  for (int i = 0; i < 20 << 20; ++i) bytes.push_back(static_cast<char>(i * 7 + (i >> 12)));
  auto upload = *store_->BeginUpload(HeaderOf(bytes), Anyone());
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
  auto rest = store->BeginUpload(header, Anyone());
  ASSERT_TRUE(rest.ok()) << rest.status();
  for (int64_t sent = promised; sent < int64_t{20} << 20; sent += 1 << 20) {
    ASSERT_TRUE((*rest)->Append(Chunk(bytes.substr(sent, 1 << 20))).ok());
  }
  EXPECT_EQ(Finish(**rest)->state(), Dataset::READY);
}

TEST_F(DataSetUploadTest, ASpoolThatLostBytesPromisesOnlyWhatItHas) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("0123456789"), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("01234567")).ok());
  }
  std::filesystem::resize_file(open_->state.data_set(1) / "upload", 3);
  Reopen();

  EXPECT_EQ(Get()->received_bytes(), 3);
  EXPECT_TRUE(Upload("0123456789", 3).ok());
}

TEST_F(DataSetUploadTest, OneCallUploadsADataSetAtATime) {
  auto first = *store_->BeginUpload(HeaderOf("0123456789"), Anyone());

  EXPECT_EQ(store_->BeginUpload(HeaderOf("0123456789"), Anyone()).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(Delete().code(), absl::StatusCode::kFailedPrecondition);

  first.reset();
  EXPECT_TRUE(store_->BeginUpload(HeaderOf("0123456789"), Anyone()).ok());
}

TEST_F(DataSetUploadTest, AChunkThatIsWrongKeepsWhatCameBefore) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("0123456789"), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("0123")).ok());
    UploadChunk damaged = Chunk("4567");
    damaged.set_crc32(1);
    EXPECT_EQ(upload->Append(damaged).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(Get()->received_bytes(), 4);
}

TEST_F(DataSetUploadTest, MoreOrLessThanWasAnnouncedIsRefused) {
  auto upload = *store_->BeginUpload(HeaderOf("0123456789"), Anyone());
  ASSERT_TRUE(upload->Append(Chunk("01234567")).ok());
  EXPECT_EQ(upload->Append(Chunk("89x")).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Finish(*upload).status().message()), HasSubstr("only 8 bytes came"));
}

TEST_F(DataSetUploadTest, AFullDiskWhileUploadingKeepsWhatIsSafe) {
  std::string bytes(3 << 20, 'x');
  {
    auto upload = *store_->BeginUpload(HeaderOf(bytes), Anyone());
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
  EXPECT_TRUE(store_->BeginUpload(header, Anyone()).ok());
}

TEST_F(DataSetUploadTest, AnUploadThatIsNotContinuedIsRemoved) {
  (void)*store_->BeginUpload(HeaderOf("0123456789"), Anyone());
  open_->clock.Advance(absl::Hours(23));
  ASSERT_TRUE(store_->Housekeep().ok());
  EXPECT_TRUE(Get().ok());
  open_->clock.Advance(absl::Hours(2));
  auto alive = *store_->BeginUpload(HeaderOf("0123456789", "datasets/alive"), Anyone());
  open_->clock.Advance(absl::Hours(48));

  ASSERT_TRUE(store_->Housekeep().ok());

  EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
  EXPECT_TRUE(Get("datasets/alive").ok());  // a call is still at it
}

TEST_F(DataSetUploadTest, AnUploadExpiresByItselfAlsoAfterARestart) {
  (void)*store_->BeginUpload(HeaderOf("0123456789", "datasets/before"), Anyone());
  Reopen();
  open_->clock.Advance(absl::Hours(1));
  (void)*store_->BeginUpload(HeaderOf("0123456789", "datasets/after"), Anyone());
  for (const char* name : {"datasets/before", "datasets/after"}) {
    auto other = *store_->BeginUpload(HeaderOf("x", "datasets/other"), Anyone());
    EXPECT_TRUE(Get(name).ok());

    open_->clock.Advance(absl::Hours(name == std::string("datasets/before") ? 23 : 1));

    // The reader keeps house before it reads this.
    ASSERT_TRUE(other->Append(Chunk("x")).ok());
    ASSERT_TRUE(Finish(*other).ok());
    EXPECT_EQ(Get(name).status().code(), absl::StatusCode::kNotFound);
    ASSERT_TRUE(Delete("datasets/other").ok());
  }
}

}  // namespace
}  // namespace denoise
