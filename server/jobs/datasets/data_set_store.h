// Data sets on disk, from the first byte that is uploaded until they are deleted.
//
//     datasets/ID/upload    what was sent, in order; removed once it has been read
//     datasets/ID/stored    what was made of it, complete where the data set is READY
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_quota.h"
#include "server/jobs/datasets/data_set_reader.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// One call that uploads. Not thread-safe. Its destructor makes what was received safe; another call
// may then go on from there.
class DataSetUpload {
 public:
  virtual ~DataSetUpload() = default;

  // Writes. InvalidArgument (empty, too long, more than total_bytes), DataLoss (the checksum),
  // ResourceExhausted or Unavailable (the disk).
  virtual absl::Status Append(const denoised::v1::UploadChunk& chunk) = 0;

  // The caller has sent everything. InvalidArgument where bytes are missing. Else `done` is called
  // once, perhaps before this returns and perhaps from another thread, when the data set is READY,
  // or with why it is not: InvalidArgument (FAILED), DataLoss (the SHA-256 of it all: it begins again
  // at 0), ResourceExhausted (a quota: FAILED; the disk is full: it is read again later), Unavailable
  // (the server stops; it is read when it is started again).
  virtual absl::Status Finish(std::function<void(absl::StatusOr<denoised::v1::Dataset>)> done) = 0;
};

// Thread-safe. Outlives its uploads. Methods wait for the disk: call them off gRPC's threads.
class DataSetStore {
 public:
  // Goes on with what a crash has interrupted. Everything outlives the store;
  // `observer` may be null.
  static absl::StatusOr<std::unique_ptr<DataSetStore>> Open(
      Database* database, const StateDir* state, const DataSetQuota& quota, IngestFunction ingest,
      const Clock* clock, JobObserver* observer = nullptr);
  ~DataSetStore();  // Stop

  // Gives up the reading that is under way, and tells those who wait for one: UNAVAILABLE. It goes on
  // when a store is opened there again. May be called again.
  void Stop();

  // The errors of UploadDataset. Fields are named from the request ("header.name").
  absl::StatusOr<std::unique_ptr<DataSetUpload>> BeginUpload(
      const denoised::v1::UploadHeader& header);
  absl::StatusOr<denoised::v1::ListDatasetsResponse> List(
      const denoised::v1::ListDatasetsRequest& request) const;
  absl::StatusOr<denoised::v1::Dataset> Get(const denoised::v1::GetDatasetRequest& request) const;
  absl::Status Delete(const denoised::v1::DeleteDatasetRequest& request);

  // One that is READY, by its name ("datasets/emoji"). NotFound; FailedPrecondition: not READY.
  struct Stored {
    int64_t id = 0;
    std::filesystem::path path;  // of what IngestFunction has stored
    denoised::v1::Dataset data_set;
  };
  absl::StatusOr<Stored> FindReady(const std::string& name) const;

  // Removes uploads that were not continued in time, and reads again what the disk did not allow to
  // be read. The store calls it by itself when one of these is due.
  absl::Status Housekeep();

 private:
  class Impl;
  explicit DataSetStore(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
