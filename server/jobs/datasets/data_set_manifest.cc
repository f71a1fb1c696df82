#include "server/jobs/datasets/data_set_manifest.h"

#include <utility>

#include "server/identity/identity.h"
#include "server/jobs/store/columns.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;

constexpr size_t kSha256Bytes = 32;

}  // namespace

StateManifest ManifestOf(const DataSetRow& row) {
  return {.kind = StateManifest::Kind::kDataSet,
          .name = row.data_set.name(),
          .create_time = TimeOf(row.data_set.create_time()),
          .resource = row.data_set.SerializeAsString(),
          .upload_sha256 = row.sha256};
}

bool Describes(const StateManifest& manifest, const DataSetRow& row) {
  return manifest.kind == StateManifest::Kind::kDataSet && manifest.name == row.data_set.name() &&
         manifest.create_time == TimeOf(row.data_set.create_time()) &&
         manifest.upload_sha256 == row.sha256;
}

std::optional<DataSetRow> RowOf(const StateManifest& manifest) {
  DataSetRow row;
  Dataset& data_set = row.data_set;
  if (manifest.kind != StateManifest::Kind::kDataSet ||
      !ParseDataSetName(ParseFullName(manifest.name).name) ||
      manifest.upload_sha256.size() != kSha256Bytes ||
      !data_set.ParseFromString(manifest.resource) || data_set.name() != manifest.name ||
      data_set.total_bytes() < 1) {
    return std::nullopt;
  }
  SetTimestamp(manifest.create_time, *data_set.mutable_create_time());
  row.sha256 = manifest.upload_sha256;
  return row;
}

}  // namespace denoise
