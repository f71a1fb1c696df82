#include "server/rpc/generation_source.h"

#include <c10/core/InferenceMode.h>

#include <functional>
#include <utility>
#include <variant>

#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/codec/latent_projection.h"
#include "proto/conversion/time_proto.h"
#include "server/requests/picture.h"
#include "server/rpc/call_end.h"
#include "server/rpc/generation_fields.h"
#include "server/rpc/handover_event.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

// What a frame shows, [C, H, W] of the size of the images.
at::Tensor AtFullSize(const FrameUpdate& frame) {
  if (frame.scale == 1) return frame.sample;
  const c10::InferenceMode inference;
  return Upscale(frame.sample.unsqueeze(0), frame.scale, Upscaling::kBilinear)[0];
}

// From an event of the log to one of the contract. Encodes frames and images, which is slow.
// InvalidArgument where an encoding cannot hold a picture.
class ToContract {
 public:
  // Seals a handover; without a token where the caller gets none.
  using Seal = std::function<v1::Handover(const GenerationLog::Handover& handover)>;

  ToContract(const Generations::Reader& reader, const GenerationSource::Totals& totals, Seal seal)
      : reader_(reader), totals_(totals), seal_(std::move(seal)) {}

  absl::StatusOr<v1::GenerateEvent> operator()(v1::Accepted accepted) const {
    v1::GenerateEvent event;
    *event.mutable_accepted() = std::move(accepted);
    event.mutable_accepted()->set_generation(reader_.name());
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const QueuePlace& place) const {
    v1::GenerateEvent event;
    event.mutable_queued()->set_position(place.position);
    if (place.expected_wait) {
      *event.mutable_queued()->mutable_expected_wait() = ToProto(*place.expected_wait);
    }
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Started& started) const {
    v1::GenerateEvent event;
    *event.mutable_started()->mutable_queue_wait() = ToProto(started.queue_wait);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Progress& progress) const {
    v1::GenerateEvent event;
    event.mutable_progress()->set_steps_done(progress.steps_done);
    event.mutable_progress()->set_steps_total(progress.steps_total);
    event.mutable_progress()->set_images_done(progress.images_done);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const FrameUpdate& frame) const {
    v1::GenerateEvent event;
    auto& proto = *event.mutable_frame();
    ASSIGN_OR_RETURN(*proto.mutable_image(),
                     EncodeSample(AtFullSize(frame), reader_.encoding().frame));
    proto.set_image_index(frame.image_index);
    proto.set_step(frame.step);
    proto.set_timestep(frame.timestep);
    proto.set_kind(frame.kind == FrameKind::kXt ? v1::FRAME_KIND_X_T : v1::FRAME_KIND_X0);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const ImageUpdate& image) const {
    v1::GenerateEvent event;
    auto& proto = *event.mutable_image();
    ASSIGN_OR_RETURN(*proto.mutable_image(), EncodeSample(image.sample, reader_.encoding().image));
    proto.set_image_index(image.image_index);
    proto.set_seed(image.seed);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Handover& handover) const {
    v1::GenerateEvent event;
    *event.mutable_handover() = seal_(handover);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::End& end) const {
    RETURN_IF_ERROR(end.status);
    v1::GenerateEvent event;
    auto& finished = *event.mutable_finished();
    finished.set_images(totals_.images);
    finished.set_frames_sent(totals_.frames_sent);
    finished.set_frames_dropped(reader_.frames_missed() + totals_.frames_too_large);
    *finished.mutable_elapsed() = ToProto(end.elapsed);
    return event;
  }

 private:
  const Generations::Reader& reader_;
  const GenerationSource::Totals& totals_;
  const Seal seal_;
};

// The end of a stream whose caller has a token: no wait is needed before it is presented.
absl::Status HandedOver() {
  return UnavailableRetryAfter(
      "the server has handed the generation over; present the token to another server",
      absl::ZeroDuration());
}

}  // namespace

Caller ToCaller(const Call& call, bool takes_handover) {
  return {.arrival = call.arrival,
          .deadline = call.deadline,
          .takes_handover = takes_handover,
          .wake = call.wake,
          .identity = call.caller,
          .trace_id = call.record->trace_id()};
}

absl::Status GenerationSource::Start() {
  ASSIGN_OR_RETURN(generation_reader_, Attach());
  return absl::OkStatus();
}

absl::StatusOr<GenerationSource::Outcome> GenerationSource::Next() {
  if (!generation_reader_) {
    ASSIGN_OR_RETURN(generation_reader_, Attach());
    if (!generation_reader_) return Wait();
  }
  if (!failure_.ok()) return EndWithFailure();
  std::optional<GenerationLog::Event> event = generation_reader_->Next();
  if (event) return MakeOutcome(*std::move(event));
  if (!generation_reader_->over()) return Wait();
  // A reader that resumed at the end of a failed generation has seen no event that says so.
  RETURN_IF_ERROR(generation_reader_->status());
  return Over();
}

std::optional<absl::Status> GenerationSource::OnCallerGone() {
  if (finished_sent_) return absl::OkStatus();
  if (generation_reader_ && !generation_reader_->Leave()) return std::nullopt;
  return CallerGone();
}

void GenerationSource::OnEnd(const absl::Status& status) {
  environment_.telemetry->FramesDropped(FramesDropped());
  Record();
  Log(status);
}

void GenerationSource::Log(const absl::Status& status) const {
  LogEvent(LevelOf(status), event_of_end(),
           {{"request", call_.record->id()},
            {"trace_id", call_.record->trace_id()},
            {"origin_trace_id", generation_reader_ ? generation_reader_->origin_trace_id() : ""},
            {"generation", generation_reader_ ? generation_reader_->full_name() : ""},
            {"model", model()},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())},
            {"images", totals_.images},
            {"frames_sent", totals_.frames_sent},
            {"frames_dropped", FramesDropped()},
            {"seconds", absl::ToDoubleSeconds(Elapsed())}});
}

void GenerationSource::Record() const {
  CallRecord& record = *call_.record;
  if (generation_reader_) {
    record.Add({{"generation", generation_reader_->full_name()},
                {"origin_trace_id", generation_reader_->origin_trace_id()}});
    AddSettings(generation_reader_->accepted(), record);
    AddProgress(generation_reader_->snapshot(), record);
  }
  if (first_frame_) {
    record.Add({{"first_frame_seconds", absl::ToDoubleSeconds(*first_frame_)}});
  }
  record.Add({{"images_sent", totals_.images},
              {"frames_sent", totals_.frames_sent},
              {"frames_dropped", FramesDropped()}});
}

int GenerationSource::FramesDropped() const {
  return totals_.frames_too_large + (generation_reader_ ? generation_reader_->frames_missed() : 0);
}

absl::StatusOr<GenerationSource::Outcome> GenerationSource::MakeOutcome(
    GenerationLog::Event event) {
  const int64_t sequence = event.sequence;
  const absl::Time time = event.time;
  const bool ends = std::holds_alternative<GenerationLog::End>(event.what);
  absl::StatusOr<v1::GenerateEvent> made = Make(std::move(event));
  if (!made.ok() && ends) return handed_over_ ? HandedOver() : made.status();
  if (!made.ok()) {  // a picture that cannot be encoded is no fault of the caller's
    failure_ = absl::InternalError(made.status().message());
    return EndWithFailure();
  }
  v1::GenerateEvent& proto = *made;
  if (proto.has_handover() && proto.handover().token().empty()) return Again();
  if (IsTooLarge(proto)) {
    ++totals_.frames_too_large;
    return Again();
  }
  Count(proto);
  proto.set_sequence(sequence);
  *proto.mutable_time() = ToProto(time);
  return std::move(proto);
}

absl::StatusOr<v1::GenerateEvent> GenerationSource::Make(GenerationLog::Event event) const {
  const auto seal = [&](const GenerationLog::Handover& handover) {
    const bool gets_token = handover.paused || takes_handover();
    return gets_token
               ? SealEvent(handover, event.sequence, event.time, *generation_reader_, environment_)
               : v1::Handover();
  };
  return CatchAsInternal("cannot make an event", [&] {
    return std::visit(ToContract(*generation_reader_, totals_, seal), std::move(event.what));
  });
}

absl::StatusOr<GenerationSource::Outcome> GenerationSource::EndWithFailure() {
  if (!generation_reader_->Leave()) return Wait();
  return failure_;
}

bool GenerationSource::IsTooLarge(const v1::GenerateEvent& event) const {
  return event.has_frame() &&
         event.frame().image().data().size() >
             static_cast<size_t>(generation_reader_->encoding().frame_bytes_max);
}

void GenerationSource::Count(const v1::GenerateEvent& event) {
  if (event.has_image()) {
    ++totals_.images;
  } else if (event.has_frame()) {
    if (totals_.frames_sent++ == 0) {
      first_frame_ = Elapsed();
      OnFirstFrame();
    }
    environment_.telemetry->FrameSent();
  } else if (event.has_handover()) {
    handed_over_ = !event.handover().paused();
  } else if (event.has_finished()) {
    finished_sent_ = true;
  }
}

}  // namespace denoise
