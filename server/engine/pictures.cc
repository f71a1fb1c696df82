#include "server/engine/pictures.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

bool WantsFrame(const FrameOptions& frames, const ActiveImage& image) {
  const Trajectory& trajectory = *image.trajectory;
  if (frames.every_n_steps == 0 || !EndsStep(image)) return false;
  if (trajectory.done()) return !frames.skip_last;
  return trajectory.steps_done() % frames.every_n_steps == 0;
}

// The part of `x0`, as TakePictures is given it, that belongs to image i.
at::Tensor PredictionOf(size_t i, const std::vector<at::Tensor>& x0) {
  return x0.size() == 1 ? x0.front()[static_cast<int64_t>(i)] : x0[i][0];
}

// `x` as its frame shows it.
at::Tensor Shown(const at::Tensor& x, const FrameOptions& frames, const Pipeline& pipeline) {
  if (!frames.as_pictures || pipeline.preview == nullptr) return x;
  return pipeline.preview->Apply(x.unsqueeze(0))[0];
}

// Gathered on the device and brought to the host at once, then a tensor of its own each: a reader
// who is slow to take one must not keep the others in memory.
std::vector<at::Tensor> ToHost(const std::vector<at::Tensor>& samples) {
  std::vector<at::Tensor> flat, host;
  for (const at::Tensor& sample : samples) flat.push_back(sample.flatten());
  const at::Tensor together = at::cat(flat).to(at::kCPU);
  int64_t begin = 0;
  for (const at::Tensor& sample : samples) {
    host.push_back(together.narrow(0, begin, sample.numel()).clone().view(sample.sizes()));
    begin += sample.numel();
  }
  return host;
}

// What may help where values are not finite.
const char* Advice(const ActiveImage& image) {
  const auto& conditions = image.generation->request().conditioning.conditions;
  return conditions.empty() || conditions.front().condition->adapters.empty()
             ? "try another sampler, or less guidance"
             : "try smaller scales of the adapters, another sampler, or less guidance";
}

}  // namespace

bool EndsStep(const ActiveImage& image) {
  return image.trajectory->last().ends_step && image.trajectory->steps_done() > image.steps_sent;
}

bool IsFinite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

Pictures TakePictures(const std::vector<ActiveImage*>& images, const std::vector<at::Tensor>& x0,
                      int index) {
  Pictures pictures;
  std::vector<at::Tensor> samples;
  for (size_t i = 0; i < images.size(); ++i) {
    const Trajectory& trajectory = *images[i]->trajectory;
    const FrameOptions& wanted = images[i]->generation->request().frames;
    if (!WantsFrame(wanted, *images[i])) continue;
    for (const FrameKind kind : wanted.kinds) {
      pictures.frames.push_back({.image = images[i], .kind = kind, .sample = {}});
      const at::Tensor x = kind == FrameKind::kX0 ? PredictionOf(i, x0) : trajectory.PictureOfX();
      samples.push_back(Shown(x, wanted, PipelineOf(*images[i], index)));
    }
  }
  for (ActiveImage* image : images) {
    if (!image->trajectory->done() || Decodes(*image, index)) continue;
    pictures.finished.push_back({.image = image, .sample = {}});
    samples.push_back(image->trajectory->x());
  }
  // Elsewhere the host would have to wait for the device at every evaluation. There, what goes to
  // the host anyway is looked at.
  const bool on_host = x0.empty() || x0.front().is_cpu();
  for (size_t i = 0; on_host && i < images.size(); ++i) {
    if (!IsFinite(PredictionOf(i, x0))) pictures.not_finite.insert(images[i]);
  }
  if (samples.empty()) return pictures;
  const std::vector<at::Tensor> host = ToHost(samples);
  size_t next = 0;
  for (std::vector<Picture>* const list : {&pictures.frames, &pictures.finished}) {
    for (Picture& picture : *list) {
      picture.sample = host[next++];
      if (!IsFinite(picture.sample)) pictures.not_finite.insert(picture.image);
    }
  }
  return pictures;
}

absl::Status NotFiniteError(const ActiveImage& image) {
  const GenerationRequest& request = image.generation->request();
  const Trajectory& trajectory = *image.trajectory;
  const int step = trajectory.steps_done() + (trajectory.last().ends_step ? 0 : 1);
  return WithErrorReason(absl::InternalError(absl::StrCat(
                             request.model, " predicted values that are not finite for image ",
                             image.index, " at step ", step, " of ", request.plan->NumSteps(),
                             ", timestep ", trajectory.last().timestep, "; ", Advice(image))),
                         "OUTPUT_NOT_FINITE");
}

absl::Status DecodedNotFiniteError(const ActiveImage& image) {
  return WithErrorReason(absl::InternalError(absl::StrCat(
                             image.generation->request().model, " decoded image ", image.index,
                             " to values that are not finite; ", Advice(image))),
                         "OUTPUT_NOT_FINITE");
}

}  // namespace denoise
