#include "client/generate_stream.h"

#include <utility>

#include "client/generate_call.h"
#include "client/status_from_grpc.h"

namespace denoise {

using denoised::v1::GenerateEvent;

GenerateStream::Call::~Call() {
  if (reader == nullptr || end.has_value()) return;
  // gRPC wants every call read to its end; a cancelled one ends at once.
  context->TryCancel();
  GenerateEvent ignored;
  while (reader->Read(&ignored)) {
  }
  (void)reader->Finish();
}

absl::Status GenerateStream::Call::Finish() {
  absl::Status status = StatusFromGrpc(reader->Finish(), address);
  if (status.ok() && !finished_seen) {
    return absl::InternalError("the stream ended before the server said that it had finished");
  }
  return status;
}

GenerateStream::GenerateStream(std::unique_ptr<Call> call) : call_(std::move(call)) {}
GenerateStream::GenerateStream(GenerateStream&&) noexcept = default;
GenerateStream& GenerateStream::operator=(GenerateStream&&) noexcept = default;
GenerateStream::~GenerateStream() = default;

absl::StatusOr<std::optional<GenerateEvent>> GenerateStream::Next() {
  if (!call_->end.has_value()) {
    GenerateEvent event;
    if (call_->reader->Read(&event)) {
      call_->finished_seen |= event.has_finished();
      return event;
    }
    call_->end = call_->Finish();
  }
  if (!call_->end->ok()) return *call_->end;
  return std::nullopt;
}

void GenerateStream::Cancel() { call_->context->TryCancel(); }

}  // namespace denoise
