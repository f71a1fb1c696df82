#include "server/rpc/diffusion.h"

#include <ATen/TensorOperators.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "server/requests/picture.h"

namespace denoise {
namespace {

using denoised::v1::DiffuseEvent;
using google::protobuf::util::TimeUtil;

// For pictures x is shown with unit variance at most.
double ScaleToShow(const denoised::v1::DiffusionLevel& level, denoised::v1::Encoding encoding) {
  if (encoding == denoised::v1::ENCODING_RAW_FLOAT32) return 1;
  return 1 / std::max(1.0, std::hypot(level.alpha(), level.sigma()));
}

}  // namespace

Diffusion::Diffusion(ResolvedDiffusion resolved, const denoised::v1::DiffuseRequest* request,
                     int64_t max_picture_pixels, absl::Time arrival)
    : resolved_(std::move(resolved)),
      request_(request),
      max_picture_pixels_(max_picture_pixels),
      arrival_(arrival),
      process_(resolved_.model->schedule),
      stops_(LayOutNoising(resolved_.model->schedule, resolved_.timesteps, resolved_.mode)) {}

absl::StatusOr<std::optional<DiffuseEvent>> Diffusion::Turn(absl::Time now) {
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
    *event->mutable_time() = TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(now));
  }
  return event;
}

absl::Status Diffusion::ReadPicture() {
  const int index = static_cast<int>(pictures_.size());
  absl::StatusOr<at::Tensor> x0 =
      DecodePicture(request_->pictures(index), resolved_.model->spec, max_picture_pixels_);
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
  *event.mutable_finished()->mutable_elapsed() =
      TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(now - arrival_));
  return event;
}

}  // namespace denoise
