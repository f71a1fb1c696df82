// One UploadDataset call, as gRPC's callback API sees it.
//
// One message is on its way at a time: it is written to the disk on the picture pool before the next
// is asked for, so an upload holds no more memory than a message, however fast it comes.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoised/v1/datasets.pb.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/rpc/stalled_call.h"
#include "server/rpc/turn_stream.h"

namespace denoise {

// Deletes itself when gRPC is done with it. Never blocks one of gRPC's threads.
class UploadStream final : public grpc::ServerReadReactor<denoised::v1::UploadDatasetRequest> {
 public:
  // `context` and `response` are gRPC's, and live until OnDone.
  UploadStream(const TurnEnvironment& environment, grpc::CallbackServerContext* context,
               DataSetStore* data_sets, denoised::v1::Dataset* response);

  void OnReadDone(bool ok) override;
  void OnDone() override;

 private:
  ~UploadStream() override = default;

  void ReadNext();
  // On the pool.
  void Take();
  absl::Status TakeMessage();
  absl::Status Begin(const denoised::v1::UploadHeader& header);
  void TakeEnd();
  void End(const absl::StatusOr<denoised::v1::Dataset>& result);

  const TurnEnvironment environment_;
  grpc::CallbackServerContext* const context_;
  DataSetStore* const data_sets_;
  denoised::v1::Dataset* const response_;
  const std::string request_id_;
  const std::shared_ptr<StalledCall> sender_;
  denoised::v1::UploadDatasetRequest message_;  // being read, then being taken
  std::string name_;                            // as the caller named it
  std::unique_ptr<DataSetUpload> upload_;       // once there was a header
  int64_t bytes_ = 0;                           // received by this call
};

}  // namespace denoise
