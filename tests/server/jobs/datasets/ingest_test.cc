#include "server/jobs/datasets/ingest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/data/stored_data_set.h"
#include "core/data/tar_header.h"
#include "core/image/image.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"
#include "tests/support/gzip.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using ::testing::HasSubstr;

// An archive of one picture again and again, which packs to a hundredth of it.
std::string TarOf(int pictures) {
  Image image{60, 60, 3, std::vector<uint8_t>(3 * 60 * 60)};
  uint32_t state = 1;
  for (uint8_t& value : image.pixels) {
    value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  }
  std::string png = *EncodeImage(image, ImageFormat::kPng);
  const auto size = static_cast<int64_t>(png.size());
  png.append(static_cast<size_t>(TarPadding(size)), '\0');
  std::string tar;
  for (int i = 0; i < pictures; ++i) tar += MakeTarHeader(absl::StrCat(i, ".png"), size) + png;
  return tar + std::string(2 * kTarBlockBytes, '\0');
}

// Uploads that are really read.
class IngestUploadTest : public DataSetStoreTest {
 protected:
  IngestUploadTest() {
    quota_ = {.data_sets = 10, .total_bytes = 3 << 20, .data_set_bytes = 2 << 20};
    store_.reset();
    store_ = OpenState::Unwrap(DataSetStore::Open(open_->database.get(), &open_->state, quota_,
                                                  IngestUpload, &open_->clock));
  }
};

TEST_F(IngestUploadTest, ADataSetHasAsManyBytesAsItSays) {
  const std::string packed = Gzip(TarOf(100));
  const auto uploaded = Upload(packed);
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  EXPECT_EQ(uploaded->report().pictures(), 100);
  const auto size = std::filesystem::file_size(store_->FindReady("datasets/emoji", Anyone())->path);
  EXPECT_EQ(uploaded->stored_bytes(), static_cast<int64_t>(size));
  EXPECT_GT(size, 1'000'000u);
  EXPECT_LT(packed.size(), 50'000u);
}

TEST_F(IngestUploadTest, ABombOfPicturesEndsAtTheQuota) {
  const absl::Status status = Upload(Gzip(TarOf(1000))).status();  // 11 MB
  ASSERT_TRUE(GetQuotaViolation(status).has_value()) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("more than 2097152 bytes"));
  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_LT(Get()->report().pictures(), 200);
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
}

TEST_F(IngestUploadTest, ABombOfPicturesEndsWhereOthersAreInTheWay) {
  ASSERT_TRUE(Upload(Gzip(TarOf(150)), 0, "datasets/first").ok());  // 1.7 MB
  const absl::Status status = Upload(Gzip(TarOf(150))).status();
  ASSERT_TRUE(GetQuotaViolation(status).has_value()) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("that are left of the 3145728"));
  ASSERT_TRUE(Delete("datasets/first").ok());
  EXPECT_TRUE(Upload(Gzip(TarOf(150)), 0, "datasets/again").ok());
}

}  // namespace
}  // namespace denoise
