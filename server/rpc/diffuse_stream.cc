#include "server/rpc/diffuse_stream.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/noising.h"
#include "proto/conversion/time_proto.h"
#include "server/requests/diffuse_request.h"
#include "server/requests/picture.h"
#include "server/requests/seed.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

using denoised::v1::DiffuseEvent;
using denoised::v1::DiffuseRequest;

// For pictures x is shown with unit variance at most.
double ScaleToShow(const denoised::v1::DiffusionLevel& level, denoised::v1::Encoding encoding) {
  if (encoding == denoised::v1::ENCODING_RAW_FLOAT32) return 1;
  return 1 / std::max(1.0, std::hypot(level.alpha(), level.sigma()));
}

// One call's work, in pieces short enough to share threads with others: a picture's at most.
// Not thread-safe.
class Diffusion {
 public:
  // `request` outlives the diffusion.
  Diffusion(ResolvedDiffusion resolved, const DiffuseRequest* request, int64_t max_picture_pixels,
            absl::Time arrival);

  bool done() const { return done_; }
  int frames() const { return frames_; }  // made so far

  // Does the next piece; an event where that makes one, stamped with `now`. InvalidArgument, before
  // any event, for a picture that cannot be read. Requires !done().
  absl::StatusOr<std::optional<DiffuseEvent>> Advance(absl::Time now);

 private:
  absl::Status ReadPicture();
  DiffuseEvent Accept();
  DiffuseEvent Finish(absl::Time now);
  absl::StatusOr<std::optional<DiffuseEvent>> Diffuse();
  absl::StatusOr<DiffuseEvent> Frame(const at::Tensor& x) const;
  int CountPictures() const { return request_->pictures_size(); }

  const ResolvedDiffusion resolved_;
  const DiffuseRequest* const request_;
  const int64_t max_picture_pixels_;
  const absl::Time arrival_;
  const ForwardProcess process_;
  const std::vector<NoisingStop> stops_;

  std::vector<at::Tensor> pictures_;  // x_0, as far as they are read
  std::vector<Noising> noisings_;     // one for each
  // All pictures pass one stop before any goes on to the next.
  int picture_ = 0;
  size_t stop_ = 0;  // stops passed; the pictures themselves are shown before the first
  int level_ = 0;    // into the levels of `accepted`
  bool shown_originals_ = false;
  bool accepted_ = false;
  bool done_ = false;
  int frames_ = 0;
  int64_t sequence_ = 0;
};

Diffusion::Diffusion(ResolvedDiffusion resolved, const DiffuseRequest* request,
                     int64_t max_picture_pixels, absl::Time arrival)
    : resolved_(std::move(resolved)),
      request_(request),
      max_picture_pixels_(max_picture_pixels),
      arrival_(arrival),
      process_(resolved_.model->schedule),
      stops_(LayOutNoising(resolved_.model->schedule, resolved_.timesteps, resolved_.mode)) {}

absl::StatusOr<std::optional<DiffuseEvent>> Diffusion::Advance(absl::Time now) {
  std::optional<DiffuseEvent> event;
  if (pictures_.size() < static_cast<size_t>(CountPictures())) {
    RETURN_IF_ERROR(ReadPicture());
  } else if (!accepted_) {
    event = Accept();
  } else if (stop_ < stops_.size()) {
    ASSIGN_OR_RETURN(event, Diffuse());
  } else {
    event = Finish(now);
  }
  if (event.has_value()) {
    event->set_sequence(sequence_++);
    *event->mutable_time() = ToProto(now);
  }
  return event;
}

absl::Status Diffusion::ReadPicture() {
  const int index = static_cast<int>(pictures_.size());
  absl::StatusOr<at::Tensor> x0 =
      DecodePicture(request_->pictures(index), resolved_.model->spec.sample, max_picture_pixels_);
  if (!x0.ok()) {
    return InvalidField(absl::StrCat("pictures[", index, "].data"),
                        std::string(x0.status().message()));
  }
  noisings_.emplace_back(&process_, *x0, resolved_.seed + static_cast<uint64_t>(index),
                         resolved_.mode);
  pictures_.push_back(*std::move(x0));
  return absl::OkStatus();
}

DiffuseEvent Diffusion::Accept() {
  accepted_ = true;
  DiffuseEvent event;
  *event.mutable_accepted() = resolved_.accepted;
  return event;
}

// One picture's part of one stop.
absl::StatusOr<std::optional<DiffuseEvent>> Diffusion::Diffuse() {
  const bool shown = !shown_originals_ || stops_[stop_].shown;
  const at::Tensor x =
      shown_originals_ ? noisings_[picture_].Step(stops_[stop_].timestep) : pictures_[picture_];
  std::optional<DiffuseEvent> event;
  if (shown) {
    ASSIGN_OR_RETURN(event, Frame(x));
    ++frames_;
  }
  if (++picture_ < CountPictures()) return event;
  picture_ = 0;
  if (shown) ++level_;
  if (shown_originals_) ++stop_;
  shown_originals_ = true;
  return event;
}

absl::StatusOr<DiffuseEvent> Diffusion::Frame(const at::Tensor& x) const {
  const denoised::v1::DiffusionLevel& level = resolved_.accepted.levels(level_);
  DiffuseEvent event;
  auto& frame = *event.mutable_frame();
  frame.set_picture_index(picture_);
  frame.set_level_index(level_);
  *frame.mutable_level() = level;
  ASSIGN_OR_RETURN(*frame.mutable_image(),
                   EncodeSample(x * ScaleToShow(level, resolved_.encoding), resolved_.encoding));
  return event;
}

DiffuseEvent Diffusion::Finish(absl::Time now) {
  done_ = true;
  DiffuseEvent event;
  event.mutable_finished()->set_frames(frames_);
  *event.mutable_finished()->mutable_elapsed() = ToProto(now - arrival_);
  return event;
}

// The most that a call can hold: each picture with its x_t and generator, what it says of levels,
// and the frame that is on its way.
int64_t MostBytesHeld(const ResolvedDiffusion& resolved, const DiffuseRequest& request) {
  const int64_t pictures = request.pictures_size();
  constexpr int64_t kGeneratorBytes = 8 << 10, kLevelBytes = 256;
  return kCallBytes + static_cast<int64_t>(request.ByteSizeLong()) + pictures * kGeneratorBytes +
         resolved.accepted.levels_size() * kLevelBytes +
         (2 * pictures + 1) * SampleBytes(resolved.model->spec.sample);
}

class DiffuseSource final : public DiffuseEventSource {
 public:
  DiffuseSource(const GenerationEnvironment& environment, const DiffuseRequest& request, Call call)
      : environment_(environment), request_(request), call_(std::move(call)) {}

  absl::Status Start() override {
    ASSIGN_OR_RETURN(
        ResolvedDiffusion resolved,
        ResolveDiffusion(request_, *environment_.models, environment_.limits, ChooseSeed()));
    ASSIGN_OR_RETURN(reservation_,
                     environment_.samples->Reserve(MostBytesHeld(resolved, request_)));
    diffusion_.emplace(std::move(resolved), &request_, environment_.limits.max_picture_pixels,
                       call_.arrival);
    return absl::OkStatus();
  }

  absl::StatusOr<Outcome> Next() override {
    if (diffusion_->done()) return Over();
    ASSIGN_OR_RETURN(std::optional<DiffuseEvent> event,
                     diffusion_->Advance(environment_.calls.clock->Now()));
    if (!event.has_value()) return Again();
    return *std::move(event);
  }

  void OnEnd(const absl::Status& status) override {
    environment_.telemetry->DiffusionFinished(status.code());
    call_.record->Add({{"model", request_.model()},
                       {"pictures", request_.pictures_size()},
                       {"frames_sent", diffusion_ ? diffusion_->frames() : 0}});
    const absl::Duration elapsed = environment_.calls.clock->Now() - call_.arrival;
    LogEvent(LevelOf(status), "diffusion finished",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"model", request_.model()},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"frames_sent", diffusion_ ? diffusion_->frames() : 0},
              {"seconds", absl::ToDoubleSeconds(elapsed)}});
  }

 private:
  const GenerationEnvironment& environment_;
  const DiffuseRequest& request_;
  const Call call_;
  std::optional<Diffusion> diffusion_;  // absent where the request was refused
  SampleBudget::Reservation reservation_;
};

}  // namespace

std::unique_ptr<DiffuseEventSource> MakeDiffuseSource(const GenerationEnvironment& environment,
                                                      const DiffuseRequest& request, Call call) {
  return std::make_unique<DiffuseSource>(environment, request, std::move(call));
}

}  // namespace denoise
