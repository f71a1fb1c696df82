#include "server/rpc/events.h"

#include <google/protobuf/util/time_util.h>

#include <utility>
#include <variant>

#include "core/base/status_macros.h"
#include "server/requests/picture.h"

namespace denoise {
namespace {

using denoised::v1::Encoding;
using denoised::v1::GenerateEvent;
using google::protobuf::util::TimeUtil;

google::protobuf::Duration ToProto(absl::Duration duration) {
  return TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(duration));
}

absl::StatusOr<GenerateEvent> FrameEvent(const FrameUpdate& frame, Encoding encoding) {
  GenerateEvent event;
  auto& proto = *event.mutable_frame();
  ASSIGN_OR_RETURN(*proto.mutable_image(), EncodeSample(frame.sample, encoding));
  proto.set_image_index(frame.image_index);
  proto.set_step(frame.step);
  proto.set_timestep(frame.timestep);
  proto.set_kind(frame.kind == FrameKind::kXt ? denoised::v1::FRAME_KIND_X_T
                                              : denoised::v1::FRAME_KIND_X0);
  return event;
}

absl::StatusOr<GenerateEvent> ImageEvent(const ImageUpdate& image, Encoding encoding) {
  GenerateEvent event;
  auto& proto = *event.mutable_image();
  ASSIGN_OR_RETURN(*proto.mutable_image(), EncodeSample(image.sample, encoding));
  proto.set_image_index(image.image_index);
  proto.set_seed(image.seed);
  return event;
}

}  // namespace

GenerateEvent StartedEvent(absl::Duration queue_wait) {
  GenerateEvent event;
  *event.mutable_started()->mutable_queue_wait() = ToProto(queue_wait);
  return event;
}

GenerateEvent ProgressEvent(int steps_done, int steps_total, int images_done) {
  GenerateEvent event;
  event.mutable_progress()->set_steps_done(steps_done);
  event.mutable_progress()->set_steps_total(steps_total);
  event.mutable_progress()->set_images_done(images_done);
  return event;
}

GenerateEvent FinishedEvent(int images, int frames_sent, int frames_dropped,
                            absl::Duration elapsed) {
  GenerateEvent event;
  auto& finished = *event.mutable_finished();
  finished.set_images(images);
  finished.set_frames_sent(frames_sent);
  finished.set_frames_dropped(frames_dropped);
  *finished.mutable_elapsed() = ToProto(elapsed);
  return event;
}

absl::StatusOr<GenerateEvent> ToEvent(OutboxItem item, Encoding image_encoding,
                                      Encoding frame_encoding) {
  if (const auto* frame = std::get_if<FrameUpdate>(&item))
    return FrameEvent(*frame, frame_encoding);
  if (const auto* image = std::get_if<ImageUpdate>(&item))
    return ImageEvent(*image, image_encoding);
  if (const auto* queued = std::get_if<QueuePosition>(&item)) {
    GenerateEvent event;
    event.mutable_queued()->set_position(queued->position);
    return event;
  }
  return std::get<GenerateEvent>(std::move(item));
}

void SetTime(absl::Time time, GenerateEvent& event) {
  *event.mutable_time() = TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(time));
}

}  // namespace denoise
