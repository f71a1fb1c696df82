// Data sets on disk, from the first byte of the upload until they are deleted.
//
//     datasets/ID/manifest.json   what the data set is, also without the database
//     datasets/ID/upload          the bytes received so far; removed once they have been read
//     datasets/ID/stored          the stored pictures, complete if the data set is READY
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
#include "server/identity/identity.h"
#include "server/jobs/datasets/data_set_quota.h"
#include "server/jobs/datasets/data_set_reader.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// A call that uploads. Not thread-safe. Its destructor syncs what was received, so that another
// call can continue from there.
class DataSetUpload {
 public:
  virtual ~DataSetUpload() = default;

  // Appends a chunk. InvalidArgument: empty, too long, or more than total_bytes. DataLoss: the
  // checksum is wrong. ResourceExhausted and Unavailable are the disk's.
  virtual absl::Status Append(const denoised::v1::UploadChunk& chunk) = 0;

  // The caller has sent everything. InvalidArgument: bytes are missing. Otherwise `done` is called
  // once, possibly before this returns and possibly on another thread, with the data set when it is
  // READY or with the reason why it is not. InvalidArgument: it FAILED. DataLoss: the SHA-256 is
  // wrong, and the upload starts over at 0. ResourceExhausted: over a quota, and it FAILED; or the
  // disk is full, and it is read again later. Unavailable: the server stops, and reads it after the
  // next start. Cancelled: it was deleted; or `gone`, which is asked until `done` is called and may
  // be null, has said of every caller that it has gone, and the upload is UPLOADING with all its
  // bytes received.
  virtual absl::Status Finish(std::function<void(absl::StatusOr<denoised::v1::Dataset>)> done,
                              std::function<bool()> gone = nullptr) = 0;
};

// Thread-safe. Outlives its uploads. Methods wait for the disk: call them off gRPC's threads.
class DataSetStore {
 public:
  // Continues what a crash has interrupted. Everything outlives the store; `observer` may be null.
  static absl::StatusOr<std::unique_ptr<DataSetStore>> Open(
      Database* database, const StateDir* state, const DataSetQuota& quota, IngestFunction ingest,
      const Clock* clock, JobObserver* observer = nullptr);
  ~DataSetStore();  // Stop

  // Abandons the reading of uploads; callers that wait get UNAVAILABLE. It continues when a store
  // is opened there again. May be called again.
  void Stop();

  // Errors are those of UploadDataset, with fields named from the request ("header.name"). What the
  // caller does not see is NotFound, as what there is not.
  absl::StatusOr<std::unique_ptr<DataSetUpload>> BeginUpload(
      const denoised::v1::UploadHeader& header, const Identity& caller);
  absl::StatusOr<denoised::v1::ListDatasetsResponse> List(
      const denoised::v1::ListDatasetsRequest& request, const Identity& caller) const;
  absl::StatusOr<denoised::v1::Dataset> Get(const denoised::v1::GetDatasetRequest& request,
                                            const Identity& caller) const;
  absl::Status Delete(const denoised::v1::DeleteDatasetRequest& request, const Identity& caller);

  // Finds a data set that is READY by its name ("datasets/emoji"). NotFound; FailedPrecondition: it
  // is not READY.
  struct Stored {
    int64_t id = 0;
    std::filesystem::path path;      // what IngestFunction has stored
    denoised::v1::Dataset data_set;  // with its full name
  };
  absl::StatusOr<Stored> FindReady(const std::string& name, const Identity& caller) const;

  // Removes uploads that were not continued in time, and reads again what the disk did not allow to
  // be read. The store calls it by itself when one of these is due.
  absl::Status Housekeep();

 private:
  class Impl;
  explicit DataSetStore(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
