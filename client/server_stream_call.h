// The gRPC call behind a ServerStream. Private to the library.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/server_stream.h"
#include "denoised/v1/image_generation.grpc.pb.h"

namespace denoise {

template <class Event>
class ServerStream<Event>::Call {
 public:
  // `context` comes first and goes last: the reader refers to it.
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReader<Event>> reader;
  std::string address;
  bool may_be_empty = false;  // it resumes, maybe after its last event
  bool empty = true;
  bool end_seen = false;
  std::optional<absl::Status> end;  // set once the stream has ended

  ~Call();

  // Collects the call's status, once every event has been read.
  absl::Status Finish();
};

}  // namespace denoise
