#include "core/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/diffusion/device_errors.h"
#include "core/train/shared_batches.h"
#include "core/train/step_random.h"
#include "core/train/tensor_list.h"

namespace denoise {
namespace {

constexpr char kTimestepsPrefix[] = "timesteps.";

absl::Status CheckGradientsAreRecorded() {
  if (c10::GradMode::is_enabled() && !c10::InferenceMode::is_enabled()) return absl::OkStatus();
  return absl::FailedPreconditionError("gradients are not recorded on this thread");
}

at::ScalarType DtypeOf(TrainingPrecision precision) {
  switch (precision) {
    case TrainingPrecision::kFloat32:
      return at::kFloat;
    case TrainingPrecision::kBFloat16:
      return at::kBFloat16;
    case TrainingPrecision::kFloat16:
      return at::kHalf;
  }
  return at::kFloat;
}

void CheckLabelDropout(const Trainer::Setup& setup, const NetworkSpec& spec,
                       FieldViolations& violations) {
  if (setup.options.objective.label_dropout == 0) return;
  const std::optional<int64_t>& label = setup.null_class_label;
  if (!label || *label < 0 || *label >= spec.num_class_embeds) {
    violations.Add("objective.label_dropout",
                   "must be 0: the network has no class that stands for \"no class\"");
  }
}

// Not every device has every kernel in every precision. One forward and backward pass of a single
// row shows whether this one does.
void CheckPrecision(const Trainer::Setup& setup, const ModelState& model,
                    FieldViolations& violations) {
  if (setup.options.precision == TrainingPrecision::kFloat32) return;
  try {
    const auto network = setup.binder(model.weights, DtypeOf(setup.options.precision));
    network->Forward(ProbeInput(network->spec(), setup.device)).sum().backward();
  } catch (const std::exception& error) {
    violations.Add("precision", std::string(DeviceError(error).message()));
  }
}

// The name of the first tensor that has an infinity or NaN; empty if none has.
std::string FirstNonFinite(const StateDict& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (!at::isfinite(tensor.detach()).all().item<bool>()) return name;
  }
  return "";
}

bool Has(const at::Tensor& tensor, at::ScalarType dtype, at::IntArrayRef shape) {
  return tensor.defined() && tensor.scalar_type() == dtype && tensor.sizes() == shape;
}

// `rows` are on the CPU. InvalidArgument unless they are `count` pictures with the shape and labels
// that the network takes. (A label out of range would crash a GPU's kernels.)
absl::Status CheckRows(const TrainingRows& rows, int64_t count, const NetworkSpec& spec) {
  if (!Has(rows.x0, at::kFloat,
           {count, spec.sample.channels, spec.sample.height, spec.sample.width})) {
    return absl::InvalidArgumentError("the pictures do not have the shape of the network's input");
  }
  if (spec.num_class_embeds == 0) return absl::OkStatus();
  if (!Has(rows.class_labels, at::kLong, {count})) {
    return absl::InvalidArgumentError("the network needs a class for each picture");
  }
  const int64_t* labels = rows.class_labels.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    if (labels[i] < 0 || labels[i] >= spec.num_class_embeds) {
      return absl::InvalidArgumentError(absl::StrCat("a picture has class ", labels[i],
                                                     ", but the network has ",
                                                     spec.num_class_embeds, " classes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(Setup setup) {
  RETURN_IF_ERROR(CheckGradientsAreRecorded());
  RETURN_IF_ERROR(ValidateTrainingOptions(setup.options));
  return CatchDeviceErrors([&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
    ModelState model =
        InitialModelState(setup.weights, setup.options.ema_decays.size(), setup.device);
    const NetworkSpec spec = setup.binder(model.weights, at::kFloat)->spec();
    auto objective = Objective::Create(setup.scheduler, setup.options.objective, spec);
    FieldViolations violations;
    violations.AddAll("objective.", objective.status());
    CheckLabelDropout(setup, spec, violations);
    CheckPrecision(setup, model, violations);
    RETURN_IF_ERROR(violations.ToStatus());
    setup.weights.clear();
    return std::unique_ptr<Trainer>(
        new Trainer(std::move(setup), std::move(model), *std::move(objective), spec));
  });
}

Trainer::Trainer(Setup setup, ModelState model, Objective objective, const NetworkSpec& spec)
    : setup_(std::move(setup)),
      objective_(std::move(objective)),
      spec_(spec),
      model_(std::move(model)),
      timesteps_(objective_.schedule(), setup_.options.objective),
      scaler_(setup_.options.precision) {}

void Trainer::TrainWith(std::shared_ptr<RankGroup> group) {
  group_ = std::move(group);
  gradient_sum_ = group_->SumGradients(TensorList(model_.weights));
  if (group_->rank() != 0) return;
  sent_batches_ = std::make_shared<SentBatches>(std::move(setup_.batches),
                                                setup_.options.batch_size, group_.get());
  setup_.batches = sent_batches_;
}

void Trainer::SetFinished() {
  if (sent_batches_) sent_batches_->SetFinished();
}

Trainer::~Trainer() = default;

RankGroup::Share Trainer::share() const {
  const int batch_size = setup_.options.batch_size;
  return group_ ? group_->share(batch_size) : RankGroup::Share{0, batch_size};
}

RunIdentity Trainer::identity() const {
  return {.options = setup_.options, .pictures = setup_.batches->pictures()};
}

uint64_t Trainer::SeedOf(int64_t step) const {
  return SeedOfStep(setup_.options.seed, step, setup_.rolled_back_to);
}

absl::Status Trainer::CheckWhole() const {
  if (!torn_) return absl::OkStatus();
  return absl::AbortedError("an update of the weights was interrupted; restore a snapshot");
}

absl::Status Trainer::CheckFinite() const {
  if (counters_.non_finite_in_a_row < setup_.options.max_non_finite_steps) {
    return absl::OkStatus();
  }
  return NotFinite();
}

// Of the last steps, which were skipped.
absl::Status Trainer::NotFinite() const {
  if (counters_.non_finite_in_a_row == 0) {
    return absl::AbortedError(
        absl::StrCat(not_finite_, " was finite in none of ", steps_done_, " steps"));
  }
  const int64_t first = steps_done_ - counters_.non_finite_in_a_row + 1;
  return absl::AbortedError(first == steps_done_
                                ? absl::StrCat(not_finite_, " was not finite at step ", first)
                                : absl::StrCat(not_finite_, " was not finite from step ", first,
                                               " to step ", steps_done_));
}

// What of a skipped step was not finite.
std::string Trainer::NameNonFinite(const StepReport& report) const {
  if (!std::isfinite(report.loss)) return "the loss";
  const std::string name = FirstNonFinite(GradientsOf(model_.weights));
  return name.empty() ? "the gradient" : absl::StrCat("the gradient of ", name);
}

absl::Status Trainer::CheckUsable() const {
  RETURN_IF_ERROR(CheckWhole());
  const bool none_counted = steps_done_ > 0 && counters_.non_finite_steps == steps_done_;
  if (!loss_is_finite_ || none_counted) return NotFinite();
  return CatchDeviceErrors([this]() -> absl::Status {
    const auto check = [this](const char* what, const StateDict& tensors) -> absl::Status {
      const std::string name = FirstNonFinite(tensors);
      if (name.empty()) return absl::OkStatus();
      return absl::AbortedError(
          absl::StrCat(what, name, " is not finite after step ", steps_done_));
    };
    RETURN_IF_ERROR(check("the weight ", model_.weights));
    for (const StateDict& average : model_.averages) {
      RETURN_IF_ERROR(check("the average of the weight ", average));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::optional<StepReport>> Trainer::RunSlice() {
  RETURN_IF_ERROR(CheckGradientsAreRecorded());
  RETURN_IF_ERROR(CheckWhole());
  RETURN_IF_ERROR(CheckFinite());
  if (done()) return absl::FailedPreconditionError("every step is done");

  if (!step_) RETURN_IF_ERROR(CatchDeviceErrors([this] { return BeginStep(); }));
  ASSIGN_OR_RETURN(const TrainingRows rows, CatchDeviceErrors([this] { return NextRows(); }));
  auto report = CatchDeviceErrors([&] { return TrainOn(rows); });
  if (!report.ok()) {
    step_.reset();  // its gradients may be incomplete
    if (group_) group_->SetFailed();
  }
  return report;
}

absl::Status Trainer::BeginStep() {
  const c10::AutoGradMode no_gradients(false);
  ZeroInPlace(GradientsOf(model_.weights));
  const int64_t number = steps_done_ + 1;
  at::Generator generator = RandomGenerator(SeedOf(number), RandomPurpose::kTimesteps, number);
  step_ =
      Step{.number = number, .timesteps = timesteps_.Sample(setup_.options.batch_size, generator)};
  return absl::OkStatus();
}

absl::StatusOr<TrainingRows> Trainer::NextRows() const {
  const int first = share().first + step_->rows_done;
  const int count = std::min(setup_.options.micro_batch_size, share().end - first);
  ASSIGN_OR_RETURN(TrainingRows rows, setup_.batches->Rows(step_->number, first, count));
  if (spec_.num_class_embeds == 0) rows.class_labels = at::Tensor();
  RETURN_IF_ERROR(CheckRows(rows, count, spec_));
  return rows;
}

absl::StatusOr<std::optional<StepReport>> Trainer::TrainOn(const TrainingRows& rows) {
  RETURN_IF_ERROR(Accumulate(rows));
  if (step_->rows_done < share().rows()) return std::nullopt;
  ASSIGN_OR_RETURN(const StepReport report, FinishStep());
  RETURN_IF_ERROR(CheckFinite());
  return report;
}

// Adds these rows' share of the gradient of the batch mean.
absl::Status Trainer::Accumulate(const TrainingRows& rows) {
  const TrainingOptions& options = setup_.options;
  const int64_t first = share().first + step_->rows_done, count = rows.x0.size(0);
  const auto of_rows = [&](const auto& values) {
    return std::vector(values.begin() + first, values.begin() + first + count);
  };
  const auto to_device = [this](const at::Tensor& x) {
    return x.defined() ? x.to(setup_.device, /*non_blocking=*/true) : x;
  };
  const uint64_t seed = SeedOf(step_->number);
  at::Tensor labels = rows.class_labels;
  if (options.objective.label_dropout > 0) {
    labels = DropLabels(seed, step_->number, first, labels, options.objective.label_dropout,
                        *setup_.null_class_label);
  }
  const at::Tensor noise = StepNoise(seed, step_->number, first, rows.x0.sizes());

  const auto network = setup_.binder(model_.weights, DtypeOf(options.precision));
  const Objective::Losses losses =
      objective_.Evaluate(*network, {to_device(rows.x0), to_device(labels)},
                          of_rows(step_->timesteps.timesteps), to_device(noise));
  const at::Tensor weights = to_device(at::tensor(of_rows(step_->timesteps.weights)));
  const at::Tensor mean = (losses.loss * weights).sum() / options.batch_size;
  step_->losses.Add(losses);
  step_->rows_done += static_cast<int>(count);
  return Backward(mean * scaler_.scale(), step_->rows_done == share().rows());
}

absl::Status Trainer::Backward(const at::Tensor& loss, bool is_last) {
  if (!group_) {
    loss.backward();
    return absl::OkStatus();
  }
  try {
    if (is_last) gradient_sum_->BeforeLastBackward(loss);
    loss.backward();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    std::optional<absl::Status> lost = RankLostBy(error);
    if (!is_last || !lost) throw;
    return *std::move(lost);
  }
}

absl::StatusOr<StepReport> Trainer::FinishStep() {
  const c10::AutoGradMode no_gradients(false);
  at::Tensor norm = GlobalNorm(GradientsOf(model_.weights));
  if (group_) {
    ASSIGN_OR_RETURN(rank_leaves_, step_->losses.Gather(*group_, setup_.options.batch_size, norm));
  }
  const StepLosses::Values losses = step_->losses.Read(step_->timesteps.weights, norm);
  const StepReport report = {.step = step_->number,
                             .loss = losses.loss,
                             .simple_loss = losses.simple,
                             .vlb_loss = losses.vlb,
                             .learning_rate = LearningRateAt(
                                 setup_.options.optimizer, setup_.options.max_steps, step_->number),
                             .gradient_norm = losses.gradient_norm / scaler_.scale(),
                             .skipped = !losses.finite};
  if (losses.finite) {
    torn_ = true;
    UpdateModel(report);
    timesteps_.Update(step_->timesteps.timesteps, losses.rows);
    torn_ = false;
  }
  loss_is_finite_ = std::isfinite(report.loss);
  if (report.skipped) not_finite_ = NameNonFinite(report);
  counters_.non_finite_steps += report.skipped ? 1 : 0;
  counters_.non_finite_in_a_row = report.skipped ? counters_.non_finite_in_a_row + 1 : 0;
  scaler_.Update(losses.finite);
  steps_done_ = report.step;
  step_.reset();
  return report;
}

// Skipped steps do not change the moments, so AdamW and the averages count updates, not steps.
void Trainer::UpdateModel(const StepReport& report) {
  const OptimizerOptions& options = setup_.options.optimizer;
  const int64_t updates_before = steps_done_ - counters_.non_finite_steps;
  const StateDict gradients = GradientsOf(model_.weights);
  const double max_norm = options.max_gradient_norm;
  const bool clips = max_norm > 0 && report.gradient_norm > max_norm;
  const double factor = (clips ? max_norm / report.gradient_norm : 1) / scaler_.scale();
  if (factor != 1) ScaleInPlace(gradients, factor);
  StepAdamW(options, report.learning_rate, updates_before + 1, gradients, model_.weights,
            model_.moments);
  for (size_t i = 0; i < model_.averages.size(); ++i) {
    UpdateEma(setup_.options.ema_decays[i], updates_before, model_.weights, model_.averages[i]);
  }
}

absl::StatusOr<TrainingSnapshot> Trainer::Snapshot() const {
  RETURN_IF_ERROR(CheckWhole());
  return CatchDeviceErrors([this]() -> absl::StatusOr<TrainingSnapshot> {
    TrainingSnapshot snapshot;
    snapshot.step = steps_done_;
    snapshot.tensors = PackModelState(model_);
    for (const auto& [name, tensor] : timesteps_.state()) {
      snapshot.tensors[kTimestepsPrefix + name] = tensor;
    }
    RunCounters counters = counters_;
    counters.loss_scale = scaler_.state();
    snapshot.state = EncodeRunState(identity(), counters);
    return snapshot;
  });
}

absl::Status Trainer::Restore(const TrainingSnapshot& snapshot) {
  ASSIGN_OR_RETURN(const RunCounters counters, DecodeRunState(snapshot.state, identity()));
  if (snapshot.step < 0 || snapshot.step > setup_.options.max_steps) {
    return InvalidField("max_steps", absl::StrCat("must be at least ", snapshot.step,
                                                  ", the number of steps already done"));
  }
  StateDict model, timesteps;
  for (const auto& [name, tensor] : snapshot.tensors) {
    const bool of_timesteps = name.starts_with(kTimestepsPrefix);
    (of_timesteps ? timesteps[name.substr(sizeof(kTimestepsPrefix) - 1)] : model[name]) = tensor;
  }
  TimestepSampler sampler(objective_.schedule(), setup_.options.objective);
  return CatchDeviceErrors([&]() -> absl::Status {
    RETURN_IF_ERROR(sampler.SetState(timesteps));
    RETURN_IF_ERROR(CheckPackedModelState(model, model_));
    torn_ = true;
    UnpackModelState(model, model_);
    torn_ = false;
    timesteps_ = std::move(sampler);
    scaler_.SetState(counters.loss_scale);
    counters_ = counters;
    if (snapshot.step == setup_.rolled_back_to) counters_.non_finite_in_a_row = 0;
    steps_done_ = snapshot.step;
    loss_is_finite_ = true;  // or it would not have been saved
    step_.reset();
    return absl::OkStatus();
  });
}

absl::StatusOr<std::shared_ptr<const Network>> Trainer::EmaNetwork(size_t index) const {
  return CatchDeviceErrors([&]() -> absl::StatusOr<std::shared_ptr<const Network>> {
    return setup_.binder(CopyTo(setup_.device, model_.averages.at(index)), at::kFloat);
  });
}

absl::StatusOr<StateDict> Trainer::EmaWeights(size_t index) const {
  return CatchDeviceErrors(
      [&]() -> absl::StatusOr<StateDict> { return CopyTo(at::kCPU, model_.averages.at(index)); });
}

}  // namespace denoise
