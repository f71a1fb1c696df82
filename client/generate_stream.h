// The events of one generation, as they come.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Made by Client::Generate, and may outlive the client. Movable. Next() is for one thread at a
// time; Cancel() may be called from any other meanwhile. Destroying it before its end cancels the
// generation, which frees the server's rows.
class GenerateStream {
 public:
  class Call;  // the gRPC call

  explicit GenerateStream(std::unique_ptr<Call> call);
  GenerateStream(GenerateStream&&) noexcept;
  GenerateStream& operator=(GenerateStream&&) noexcept;
  ~GenerateStream();

  // Blocks for the next event. Nullopt once the stream has ended as it should, after `finished`; an
  // error when it ended otherwise (see the proto for the codes). From then on the answer stays the
  // same.
  absl::StatusOr<std::optional<denoised::v1::GenerateEvent>> Next();

  // Makes a blocked or later Next() return CANCELLED, unless the stream has ended. Does not block.
  void Cancel();

 private:
  std::unique_ptr<Call> call_;
};

}  // namespace denoise
