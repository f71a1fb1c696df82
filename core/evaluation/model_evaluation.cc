#include "core/evaluation/model_evaluation.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/device_errors.h"
#include "core/evaluation/evaluation_stages.h"

namespace denoise {
namespace {

// Each picture needs that many neighbours.
void CheckCounts(const EvaluationOptions& options, int64_t pictures, FieldViolations& violations) {
  violations.CheckRange("nearest_neighbours", options.nearest_neighbours, 1, kMaxNearestNeighbours);
  const int64_t least =
      std::clamp(options.nearest_neighbours, 1, kMaxNearestNeighbours) + int64_t{1};
  violations.CheckRange("sample_count", options.sample_count, least, kMaxSampleCount);
  if (pictures < least) {
    violations.Add("dataset", absl::StrCat("must have at least ", least, " pictures for ",
                                           least - 1, " neighbours, has ", pictures));
  }
  violations.CheckRange("bits_per_dim_pictures", options.bits_per_dim_pictures, 0, pictures);
  violations.CheckRange("batch_rows", options.batch_rows, 1, 4096);
  violations.CheckRange("sheet_samples", options.sheet_samples, 1, 256);
}

void CheckClasses(const ModelEvaluation::Setup& setup, FieldViolations& violations) {
  const int64_t classes = setup.network->spec().num_class_embeds;
  if (classes == 0 || setup.data->classes().empty()) return;
  for (int64_t i = 0; i < setup.data->size(); ++i) {
    const int64_t label = setup.data->label(i);
    if (label >= 0 && label < classes) continue;
    violations.Add("dataset",
                   absl::StrCat("has class ", label, ", but the model has ", classes, " classes"));
    return;
  }
}

absl::Status Validate(const ModelEvaluation::Setup& setup) {
  FieldViolations violations;
  const EvaluationOptions& options = setup.options;
  CheckCounts(options, setup.data->size(), violations);
  CheckClasses(setup, violations);
  const NetworkSpec& spec = setup.network->spec();
  if (spec.sample.channels != 1 && spec.sample.channels != 3) {
    violations.Add("model", absl::StrCat("must make pictures with 1 or 3 channels, makes ",
                                         spec.sample.channels));
  }
  if (!std::isfinite(options.guidance_scale)) {
    violations.Add("guidance_scale", "must be finite");
  } else if (options.guidance_scale != 1 &&
             (!setup.null_class_label || spec.num_class_embeds == 0)) {
    violations.Add("guidance_scale", "must be 1 for a model without a null class");
  }
  if (options.bits_per_dim_pictures > 0 && !setup.bound) {
    violations.Add("bits_per_dim_pictures", "must be 0 for a model without a variational bound");
  }
  return violations.ToStatus();
}

}  // namespace

class ModelEvaluation::Impl {
 public:
  explicit Impl(Setup setup) : setup_(std::move(setup)) { BeginStage(); }

  bool done() const { return stage_ == nullptr; }
  const ModelReport& report() const { return results_.report; }

  Progress progress() const {
    const EvaluationOptions& options = setup_.options;
    return {.pictures_done = pictures_before_ + (done() ? 0 : stage_->pictures_done()),
            .pictures_total = options.sample_count +
                              std::min(setup_.data->size(), kMaxPicturesSearched) +
                              options.bits_per_dim_pictures};
  }

  absl::Status RunSlice() {
    DENOISE_DCHECK(!stage_->done());
    RETURN_IF_ERROR(stage_->RunSlice());
    if (!stage_->done()) return absl::OkStatus();
    stage_->Finish(results_);
    pictures_before_ += stage_->pictures_done();
    ++stages_done_;
    BeginStage();
    return absl::OkStatus();
  }

 private:
  void BeginStage() {
    stage_.reset();  // frees memory for the next one
    stage_ = MakeStage();
  }

  std::unique_ptr<EvaluationStage> MakeStage() {
    switch (stages_done_) {
      case 0:
        return std::make_unique<SampleStage>(setup_);
      case 1:
        return std::make_unique<PictureStage>(setup_, results_);
      case 2:
        return std::make_unique<ComparisonStage>(setup_, results_);
      case 3:
        return std::make_unique<SheetStage>(setup_, results_);
      case 4:
        if (setup_.options.bits_per_dim_pictures == 0) return nullptr;
        return std::make_unique<BitsPerDimStage>(setup_);
    }
    return nullptr;
  }

  const Setup setup_;
  EvaluationResults results_;
  int stages_done_ = 0;
  int64_t pictures_before_ = 0;
  std::unique_ptr<EvaluationStage> stage_;  // null: all are done
};

absl::StatusOr<std::unique_ptr<ModelEvaluation>> ModelEvaluation::Create(Setup setup) {
  RETURN_IF_ERROR(Validate(setup));
  try {
    setup.features = setup.features->To(setup.network->device());
    if (setup.runtime == nullptr) setup.runtime = MakeDeviceRuntime(setup.network->device());
  } catch (const std::exception& error) {
    return DeviceError(error);
  }
  return std::unique_ptr<ModelEvaluation>(
      new ModelEvaluation(std::make_unique<Impl>(std::move(setup))));
}

ModelEvaluation::ModelEvaluation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ModelEvaluation::~ModelEvaluation() = default;

absl::Status ModelEvaluation::RunSlice() {
  DENOISE_DCHECK(!done());
  const c10::InferenceMode inference;
  try {
    return impl_->RunSlice();
  } catch (const std::exception& error) {
    return DeviceError(error);
  }
}

bool ModelEvaluation::done() const { return impl_->done(); }
ModelEvaluation::Progress ModelEvaluation::progress() const { return impl_->progress(); }
const ModelReport& ModelEvaluation::report() const {
  DENOISE_DCHECK(done());
  return impl_->report();
}

}  // namespace denoise
