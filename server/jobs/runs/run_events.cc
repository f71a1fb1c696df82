#include "server/jobs/runs/run_events.h"

#include <utility>

#include "core/base/status_macros.h"
#include "server/jobs/runs/picture_sheet.h"
#include "server/jobs/store/resource_names.h"

namespace denoise {

using denoised::v1::TrainingEvent;

TrainingEvent ProgressEvent(denoised::v1::TrainingProgress progress) {
  TrainingEvent event;
  *event.mutable_progress() = std::move(progress);
  return event;
}

TrainingEvent CheckpointEvent(int64_t job, const CheckpointFolder::Entry& entry,
                              const std::vector<double>& ema_decays) {
  TrainingEvent event;
  event.mutable_checkpoint()->set_name(CheckpointName({job, entry.step}));
  event.mutable_checkpoint()->set_step(entry.step);
  event.mutable_checkpoint()->set_size_bytes(entry.size_bytes);
  event.mutable_checkpoint()->mutable_ema_decays()->Assign(ema_decays.begin(), ema_decays.end());
  return event;
}

absl::StatusOr<TrainingEvent> GridEvent(int64_t step, const std::vector<Image>& pictures) {
  TrainingEvent event;
  event.mutable_sample_grid()->set_step(step);
  ASSIGN_OR_RETURN(*event.mutable_sample_grid()->mutable_image(), EncodeSheet(pictures));
  return event;
}

absl::StatusOr<TrainingEvent> EvaluationEvent(int64_t step, const ModelReport& report) {
  TrainingEvent event;
  denoised::v1::EvaluationResult& result = *event.mutable_evaluation();
  result.set_step(step);
  result.set_frechet_distance(report.metrics.frechet_distance);
  result.set_precision(report.metrics.precision);
  result.set_recall(report.metrics.recall);
  result.set_density(report.metrics.density);
  result.set_coverage(report.metrics.coverage);
  result.set_memorisation_rate(report.memorisation_rate);
  if (report.bits_per_dim) result.set_bits_per_dim(*report.bits_per_dim);
  if (report.prior_bits_per_dim) result.set_prior_bits_per_dim(*report.prior_bits_per_dim);
  result.set_samples(static_cast<int32_t>(report.samples));
  result.set_pictures(static_cast<int32_t>(report.pictures));
  ASSIGN_OR_RETURN(*result.mutable_nearest_neighbours_sheet(),
                   EncodePicture(report.nearest_neighbours_sheet));
  return event;
}

}  // namespace denoise
