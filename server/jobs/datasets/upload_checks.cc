#include "server/jobs/datasets/upload_checks.h"

#include <zlib.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::UploadChunk;
using denoised::v1::UploadHeader;

constexpr size_t kSha256Bytes = 32;
constexpr size_t kMaxChunkBytes = 1 << 20;

absl::Status WithReceivedBytes(absl::Status status, int64_t received_bytes) {
  return WithErrorMetadata(std::move(status), "received_bytes", std::to_string(received_bytes));
}

}  // namespace

absl::Status CheckUploadHeader(const UploadHeader& header) {
  FieldViolations violations;
  if (!ParseDataSetName(header.name())) {
    violations.Add("header.name",
                   "must be \"datasets/\" and a name of letters, digits and ._- that begins with a "
                   "letter or digit");
  }
  if (header.format() == denoised::v1::DATASET_FORMAT_UNSPECIFIED ||
      !denoised::v1::DatasetFormat_IsValid(header.format())) {
    violations.Add("header.format", "must be one of the formats");
  }
  if (header.total_bytes() < 1) {
    violations.Add("header.total_bytes",
                   absl::StrCat("must be at least 1, is ", header.total_bytes()));
  }
  if (header.sha256().size() != kSha256Bytes) {
    violations.Add("header.sha256",
                   absl::StrCat("must be ", kSha256Bytes, " bytes, is ", header.sha256().size()));
  }
  if (header.offset() < 0 || header.offset() > header.total_bytes()) {
    violations.Add("header.offset",
                   absl::StrCat("must be between 0 and total_bytes, is ", header.offset()));
  }
  return violations.ToStatus();
}

absl::Status CheckChunk(const UploadChunk& chunk, int64_t received_bytes) {
  const std::string& data = chunk.data();
  if (data.empty() || data.size() > kMaxChunkBytes) {
    return InvalidField("chunk.data", absl::StrCat("must be between 1 and ", kMaxChunkBytes,
                                                   " bytes, is ", data.size()));
  }
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size());
  if (chunk.has_crc32() && chunk.crc32() != crc) {
    return WithReceivedBytes(
        absl::DataLossError("a chunk does not match its checksum; send it again"), received_bytes);
  }
  return absl::OkStatus();
}

absl::Status CheckOffset(const UploadHeader& header, int64_t received_bytes) {
  if (header.offset() == received_bytes) return absl::OkStatus();
  return WithReceivedBytes(absl::FailedPreconditionError(absl::StrCat(
                               "header.offset must be ", received_bytes,
                               ", the bytes received so far; it is ", header.offset())),
                           received_bytes);
}

absl::Status CheckContinues(const UploadHeader& header, const DataSetRow& row) {
  const Dataset& data_set = row.data_set;
  if (data_set.state() == Dataset::READY) {
    return absl::AlreadyExistsError(
        "there is already a data set of this name, and it is READY; delete it first, or upload "
        "under "
        "another name");
  }
  if (header.format() != data_set.format() || header.total_bytes() != data_set.total_bytes() ||
      header.sha256() != row.sha256) {
    return absl::AlreadyExistsError(
        absl::StrCat("an unfinished upload of other bytes has this name: continue it with the same "
                     "bytes, or delete it (denoise datasets delete ",
                     *ParseDataSetName(header.name()), ")"));
  }
  return CheckOffset(header, data_set.received_bytes());
}

}  // namespace denoise
