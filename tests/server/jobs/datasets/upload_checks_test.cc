#include "server/jobs/datasets/upload_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::UploadChunk;
using denoised::v1::UploadHeader;
using ::testing::ElementsAre;
using ::testing::Pair;

UploadHeader Header() {
  UploadHeader header;
  header.set_name("datasets/emoji");
  header.set_format(denoised::v1::DATASET_FORMAT_TAR);
  header.set_total_bytes(1000);
  header.set_sha256(std::string(32, 'h'));
  return header;
}

DataSetRow Row(Dataset::State state, int64_t received) {
  DataSetRow row;
  row.sha256 = Header().sha256();
  row.data_set.set_format(Header().format());
  row.data_set.set_total_bytes(1000);
  row.data_set.set_received_bytes(received);
  row.data_set.set_state(state);
  return row;
}

TEST(UploadChecks, EverythingWrongWithAHeaderIsNamed) {
  UploadHeader header;
  header.set_name("emoji");
  header.set_offset(-1);
  header.set_sha256("short");

  std::vector<std::string> fields;
  for (const auto& violation : GetFieldViolations(CheckUploadHeader(header))) {
    fields.push_back(violation.field);
  }

  EXPECT_THAT(fields, ElementsAre("header.name", "header.format", "header.total_bytes",
                                  "header.sha256", "header.offset"));
  EXPECT_TRUE(CheckUploadHeader(Header()).ok());
}

TEST(UploadChecks, AChunkIsNeitherEmptyNorLongerThanItMayBe) {
  UploadChunk chunk;
  EXPECT_EQ(GetFieldViolations(CheckChunk(chunk, 0))[0].field, "chunk.data");
  chunk.set_data(std::string(1 << 20, 'x'));
  EXPECT_TRUE(CheckChunk(chunk, 0).ok());
  chunk.set_data(std::string((1 << 20) + 1, 'x'));
  EXPECT_EQ(GetFieldViolations(CheckChunk(chunk, 0))[0].field, "chunk.data");
}

TEST(UploadChecks, AChunkMatchesItsChecksum) {
  UploadChunk chunk;
  chunk.set_data("123456789");
  chunk.set_crc32(0xCBF43926);  // the check value of CRC-32
  EXPECT_TRUE(CheckChunk(chunk, 0).ok());
  chunk.set_data("123456780");
  const absl::Status damaged = CheckChunk(chunk, 512);
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(GetErrorMetadata(damaged), ElementsAre(Pair("received_bytes", "512")));
}

TEST(UploadChecks, ACallGoesOnWhereTheBytesAreSafe) {
  UploadHeader header = Header();
  header.set_offset(600);
  EXPECT_TRUE(CheckContinues(header, Row(Dataset::UPLOADING, 600)).ok());

  const absl::Status elsewhere = CheckContinues(header, Row(Dataset::UPLOADING, 512));

  EXPECT_EQ(elsewhere.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetErrorMetadata(elsewhere), ElementsAre(Pair("received_bytes", "512")));
}

TEST(UploadChecks, ADataSetIsNotReplaced) {
  EXPECT_EQ(CheckContinues(Header(), Row(Dataset::READY, 1000)).code(),
            absl::StatusCode::kAlreadyExists);
  DataSetRow other = Row(Dataset::UPLOADING, 0);
  other.sha256 = std::string(32, 'o');
  EXPECT_EQ(
      CheckContinues(Header(), other),
      absl::AlreadyExistsError("an unfinished upload of other bytes has this name: continue "
                               "it with the same bytes, or delete it (denoise datasets delete "
                               "emoji)"));
}

}  // namespace
}  // namespace denoise
