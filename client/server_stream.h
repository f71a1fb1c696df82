// The events of one server-streaming call, as they come.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"
#include "denoised/v1/training.pb.h"

namespace denoise {

// Made by Client, and may outlive it. Movable. Next() is for one thread at a time; Cancel() may be
// called from any other meanwhile. Destroying it before its end cancels the call, which frees what
// the server holds for it. Event is GenerateEvent, DiffuseEvent, TrainingEvent
// or ModelEvent.
template <class Event>
class ServerStream {
 public:
  class Call;  // the gRPC call

  explicit ServerStream(std::unique_ptr<Call> call);
  ServerStream(ServerStream&&) noexcept;
  ServerStream& operator=(ServerStream&&) noexcept;
  ~ServerStream();

  // Blocks for the next event. Nullopt once the stream has ended as it should, after `finished` or
  // a job's final state; an error when it ended otherwise (see the proto for the codes), as every
  // watch of models does. From then on the answer stays the same.
  absl::StatusOr<std::optional<Event>> Next();

  // Makes a blocked or later Next() return CANCELLED, unless the stream has ended. Does not block.
  void Cancel();

 private:
  std::unique_ptr<Call> call_;
};

using GenerateStream = ServerStream<denoised::v1::GenerateEvent>;
using DiffuseStream = ServerStream<denoised::v1::DiffuseEvent>;
using TrainingStream = ServerStream<denoised::v1::TrainingEvent>;
using ModelStream = ServerStream<denoised::v1::ModelEvent>;

}  // namespace denoise
