#include "server/jobs/runs/evaluation_result.h"

#include "core/base/status_macros.h"
#include "server/jobs/runs/picture_sheet.h"

namespace denoise {

absl::StatusOr<denoised::v1::TrainingEvent> EvaluationEvent(int64_t step,
                                                            const ModelReport& report) {
  denoised::v1::TrainingEvent event;
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
