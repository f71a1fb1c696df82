// The gRPC call behind a GenerateStream. Private to the library.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/generate_stream.h"
#include "denoised/v1/image_generation.grpc.pb.h"

namespace denoise {

class GenerateStream::Call {
 public:
  // `context` comes first and goes last: the reader refers to it.
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReader<denoised::v1::GenerateEvent>> reader;
  std::string address;
  bool finished_seen = false;
  std::optional<absl::Status> end;  // set once the stream has ended

  ~Call();

  // Collects the call's status, once every event has been read.
  absl::Status Finish();
};

}  // namespace denoise
