#include "client/server_stream.h"

#include <utility>

#include "client/server_stream_call.h"
#include "client/status_from_grpc.h"

namespace denoise {
namespace {

// Whether `event` is the last one that a stream has.
template <class Event>
bool Ends(const Event& event) {
  return event.has_finished();
}

bool Ends(const denoised::v1::TrainingEvent& event) {
  switch (event.state_change().state()) {
    case denoised::v1::TrainingJob::SUCCEEDED:
    case denoised::v1::TrainingJob::FAILED:
    case denoised::v1::TrainingJob::CANCELLED:
      return true;
    default:
      return false;
  }
}

// There may always be another change.
bool Ends(const denoised::v1::ModelEvent&) { return false; }

}  // namespace

absl::Status StatusOfCall(const grpc::Status& status, std::string_view address,
                          std::atomic<bool>* answered) {
  absl::Status result = StatusFromGrpc(status, address);
  const bool is_answer = result.ok() || result.GetPayload(kRpcStatusUrl).has_value();
  if (is_answer && answered != nullptr) *answered = true;
  return result;
}

template <class Event>
ServerStream<Event>::Call::~Call() {
  if (reader == nullptr || end.has_value()) return;
  // gRPC wants every call read to its end; a cancelled one ends at once.
  context->TryCancel();
  Event ignored;
  while (reader->Read(&ignored)) {
  }
  (void)reader->Finish();
}

template <class Event>
bool ServerStream<Event>::Call::Read(Event& event) {
  while (reader->Read(&event)) {
    if (answered != nullptr) *answered = true;
    if (!is_news || is_news(event)) return true;
  }
  return false;
}

template <class Event>
absl::Status ServerStream<Event>::Call::Finish() {
  absl::Status status = StatusOfCall(reader->Finish(), address, answered.get());
  if (status.ok() && !end_seen && !(may_be_empty && empty)) {
    return absl::InternalError("the stream ended before the server said how it all ended");
  }
  return status;
}

template <class Event>
bool ServerStream<Event>::Call::ContinueAfter(const absl::Status& status) {
  if (!continue_after) return false;
  auto before = std::make_unique<grpc::ClientContext>();
  {
    const MutexLock lock(mutex);
    if (cancelled) return false;
    std::swap(context, before);  // so that Cancel() reaches the call that is about to begin
  }
  auto next_reader = continue_after(status, *context);  // may wait for a connection
  if (next_reader != nullptr) {
    reader = std::move(next_reader);
    return true;
  }
  const MutexLock lock(mutex);
  std::swap(context, before);  // the reader of the one before refers to it
  return false;
}

template <class Event>
void ServerStream<Event>::Call::Cancel() {
  const MutexLock lock(mutex);
  cancelled = true;
  context->TryCancel();
}

template <class Event>
ServerStream<Event>::ServerStream(std::unique_ptr<Call> call) : call_(std::move(call)) {}
template <class Event>
ServerStream<Event>::ServerStream(ServerStream&&) noexcept = default;
template <class Event>
ServerStream<Event>& ServerStream<Event>::operator=(ServerStream&&) noexcept = default;
template <class Event>
ServerStream<Event>::~ServerStream() = default;

template <class Event>
absl::StatusOr<std::optional<Event>> ServerStream<Event>::Next() {
  while (!call_->end.has_value()) {
    Event event;
    if (call_->Read(event)) {
      call_->empty = false;
      call_->end_seen |= Ends(event);
      return event;
    }
    const absl::Status status = call_->Finish();
    if (!call_->ContinueAfter(status)) call_->end = status;
  }
  if (!call_->end->ok()) return *call_->end;
  return std::nullopt;
}

template <class Event>
void ServerStream<Event>::Cancel() {
  call_->Cancel();
}

template class ServerStream<denoised::v1::GenerateEvent>;
template class ServerStream<denoised::v1::DiffuseEvent>;
template class ServerStream<denoised::v1::TrainingEvent>;
template class ServerStream<denoised::v1::ModelEvent>;

}  // namespace denoise
