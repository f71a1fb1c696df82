#include "server/jobs/runs/run_loader.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/data/stored_data_set.h"
#include "core/diffusion/device_errors.h"
#include "core/evaluation/inception_features.h"
#include "core/io/parsed_model.h"
#include "core/nn/unet2d.h"
#include "core/train/batch_loader.h"
#include "core/train/checkpoint_folder.h"
#include "server/jobs/runs/evaluation_task.h"
#include "server/jobs/runs/run_resume.h"
#include "server/jobs/runs/training_task.h"
#include "server/jobs/settings/evaluation_settings.h"
#include "server/jobs/settings/training_settings.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/resource_names.h"
#include "server/models/model_loader.h"

namespace denoise {
namespace {

using denoised::v1::EvaluationSettings;
using denoised::v1::TrainingJob;
using denoised::v1::TrainingSettings;

constexpr int64_t kMaxSharedBatchBytes = int64_t{1} << 30;

absl::StatusOr<std::shared_ptr<const DataSet>> OpenStored(const RunEnvironment& environment,
                                                          const std::string& name,
                                                          const ModelInfo& model) {
  ASSIGN_OR_RETURN(const DataSetStore::Stored stored,
                   environment.data_sets->FindReady(name, Anyone()));
  auto data = OpenDataSet(stored.path);
  if (absl::IsNotFound(data.status()) || absl::IsDataLoss(data.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the pictures of ", name, " cannot be read: ", data.status().message()));
  }
  RETURN_IF_ERROR(data.status());
  return WithLabelsOf(model, *std::move(data));
}

absl::StatusOr<std::shared_ptr<const FeatureExtractor>> LoadInception(
    const RunEnvironment& environment, const EvaluationSettings& settings) {
  if (settings.features() != EvaluationSettings::INCEPTION) return nullptr;
  if (environment.inception.empty()) {
    return absl::FailedPreconditionError("the server has no Inception network (--inception)");
  }
  return InceptionFeatures::Load(environment.inception);
}

TrainingPictures::Shape ShapeOf(const UNet2DConfig& unet) {
  return {.channels = static_cast<int>(unet.in_channels),
          .height = static_cast<int>(unet.height),
          .width = static_cast<int>(unet.width)};
}

RunFacts FactsOf(const TrainingSettings& settings, int64_t pictures) {
  RunFacts facts = {
      .max_steps = settings.max_steps(), .batch_size = settings.batch_size(), .pictures = pictures};
  if (settings.has_max_duration()) {
    facts.max_duration = absl::Seconds(settings.max_duration().seconds()) +
                         absl::Nanoseconds(settings.max_duration().nanos());
  }
  return facts;
}

class Loader {
 public:
  Loader(const RunEnvironment& environment, int64_t job, std::string tenant, int device,
         std::function<void()> written, std::function<void()> ended)
      : environment_(environment),
        job_(job),
        tenant_(std::move(tenant)),
        device_(environment.engine->options().devices[device]),
        written_(std::move(written)),
        ended_(std::move(ended)) {}

  absl::StatusOr<LoadedRun> LoadTraining(const TrainingSettings& settings);
  absl::StatusOr<LoadedRun> LoadEvaluation(const EvaluationSettings& settings);

 private:
  absl::StatusOr<std::shared_ptr<CheckpointFolder>> OpenCheckpoints() const;
  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const TrainingSettings& settings,
                                                       const ParsedModel& base,
                                                       std::shared_ptr<const DataSet> data) const;
  absl::StatusOr<std::unique_ptr<RankGathering>> GatherRanks(const TrainingSettings& settings,
                                                             const ParsedModel& base,
                                                             int64_t pictures,
                                                             const Trainer& trainer) const;
  absl::Status WaitFor(const std::string& what) const;
  absl::StatusOr<ModelEvaluation::Setup> MakeEvaluation(const EvaluationSettings& settings,
                                                        const ModelInfo& model,
                                                        std::shared_ptr<const DataSet> data) const;
  int max_rows() const { return environment_.engine->options().max_batch_rows; }

  const RunEnvironment& environment_;
  const int64_t job_;
  const std::string tenant_;
  const at::Device device_;
  std::function<void()> written_;
  std::function<void()> ended_;
};

absl::StatusOr<LoadedRun> Loader::LoadTraining(const TrainingSettings& settings) {
  ASSIGN_OR_RETURN(const ParsedModel base, ParsedModel::Open(environment_.state->base_model(job_)));
  const ModelInfo model = InfoOf(base.description());
  ASSIGN_OR_RETURN(const auto data, OpenStored(environment_, settings.dataset(), model));
  ASSIGN_OR_RETURN(const auto checkpoints, OpenCheckpoints());
  const RunFacts facts = FactsOf(settings, data->size());
  TrainingTask::Setup setup = {
      .trainer = nullptr,
      .model = settings.has_base_model() ? settings.base_model() : "a new network",
      .facts = facts,
      .progress = RunProgress(facts),
      .schedule = ScheduleOf(settings),
      .written = {},
      .grid = {},
      .evaluation = {},
      .max_rows = max_rows(),
      .clock = environment_.clock};
  ASSIGN_OR_RETURN(setup.trainer, MakeTrainer(settings, base, data));
  const std::vector<double> ema_decays(settings.ema_decays().begin(), settings.ema_decays().end());
  ASSIGN_OR_RETURN(setup.written, ResumeRun({.store = environment_.store,
                                             .checkpoints = checkpoints.get(),
                                             .job = job_,
                                             .ema_decays = ema_decays},
                                            *setup.trainer, setup.progress));
  if (environment_.ranks != nullptr && !setup.trainer->done() && !setup.progress.TimeIsUp()) {
    ASSIGN_OR_RETURN(setup.ranks, GatherRanks(settings, base, data->size(), *setup.trainer));
  } else {
    RETURN_IF_ERROR(WaitFor(""));  // an earlier run may have been waiting when the server ended
  }
  ASSIGN_OR_RETURN(setup.grid, GridOf(settings, model));
  if (settings.evaluations().every_n_steps() > 0) {
    ASSIGN_OR_RETURN(setup.evaluation,
                     MakeEvaluation(settings.evaluations().settings(), model, data));
  }
  setup.ema_index = static_cast<size_t>(std::max_element(ema_decays.begin(), ema_decays.end()) -
                                        ema_decays.begin());
  LoadedRun run;
  run.recorder = std::make_unique<RunRecorder>(
      RunRecorder::Destination{.store = environment_.store,
                               .checkpoints = checkpoints,
                               .job = job_,
                               .tenant = tenant_,
                               .keep_checkpoints = settings.checkpoints().keep(),
                               .ema_decays = ema_decays},
      std::move(written_));
  run.task = std::make_shared<TrainingTask>(std::move(setup), run.recorder.get(),
                                            environment_.observer, std::move(ended_));
  return run;
}

absl::StatusOr<std::shared_ptr<CheckpointFolder>> Loader::OpenCheckpoints() const {
  auto opened = CheckpointFolder::Open(environment_.state->checkpoints(job_));
  if (!opened.ok()) return DiskStatus(opened.status());
  return std::make_shared<CheckpointFolder>(*std::move(opened));
}

absl::StatusOr<std::unique_ptr<Trainer>> Loader::MakeTrainer(
    const TrainingSettings& settings, const ParsedModel& base,
    std::shared_ptr<const DataSet> data) const {
  const ModelDescription& model = base.description();
  const TrainingOptions options = TrainingOptionsOf(settings);
  ASSIGN_OR_RETURN(StateDict weights, base.LoadWeights());
  ASSIGN_OR_RETURN(const auto rolled_back_to, environment_.store->RolledBackTo(job_));
  ASSIGN_OR_RETURN(std::shared_ptr<BatchSource> batches,
                   BatchLoader::Create(std::move(data), {.shape = ShapeOf(model.unet),
                                                         .batch_size = options.batch_size,
                                                         .augmentation = options.augmentation,
                                                         .seed = options.seed,
                                                         .rolled_back_to = rolled_back_to}));
  auto trainer =
      Trainer::Create({.weights = std::move(weights),
                       .binder =
                           [unet = model.unet](const StateDict& parameters, at::ScalarType dtype) {
                             return BindUNet2D(unet, parameters, dtype, {.batch_invariant = false});
                           },
                       .scheduler = model.scheduler,
                       .null_class_label = model.null_class_label,
                       .batches = std::move(batches),
                       .options = options,
                       .rolled_back_to = rolled_back_to,
                       .device = device_});
  if (!trainer.ok()) return DeviceStatus(trainer.status());
  return trainer;
}

// The leader holds a whole batch: a job must not take all of its memory.
absl::StatusOr<std::unique_ptr<RankGathering>> Loader::GatherRanks(const TrainingSettings& settings,
                                                                   const ParsedModel& base,
                                                                   int64_t pictures,
                                                                   const Trainer& trainer) const {
  const UNet2DConfig& unet = base.description().unet;
  const int64_t batch_bytes =
      int64_t{4} * settings.batch_size() * unet.in_channels * unet.height * unet.width;
  if (batch_bytes > kMaxSharedBatchBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("batch_size is ", settings.batch_size(), ": a batch takes ", batch_bytes >> 20,
                     " MiB, and this server shares batches of at most ", kMaxSharedBatchBytes >> 20,
                     " MiB among machines"));
  }
  RunDocument run = {
      .settings = settings, .model = base.texts(), .pictures = pictures, .snapshot = {}};
  ASSIGN_OR_RETURN(run.rolled_back_to, environment_.store->RolledBackTo(job_));
  ASSIGN_OR_RETURN(run.snapshot, trainer.Snapshot());
  RETURN_IF_ERROR(WaitFor(environment_.ranks->AwaitedBy(settings.batch_size())));
  if (environment_.observer != nullptr) environment_.observer->OnRanks(JobName(job_), 0);
  return environment_.ranks->Start(settings.batch_size(), std::move(run), written_);
}

// Tells callers what the job waits for although it is RUNNING; empty: nothing.
absl::Status Loader::WaitFor(const std::string& what) const {
  return environment_.store->Apply(job_, JobAction::kWait, what).status();
}

absl::StatusOr<ModelEvaluation::Setup> Loader::MakeEvaluation(
    const EvaluationSettings& settings, const ModelInfo& model,
    std::shared_ptr<const DataSet> data) const {
  ASSIGN_OR_RETURN(auto inception, LoadInception(environment_, settings));
  return EvaluationSetupOf(settings, {.model = model,
                                      .data = std::move(data),
                                      .inception = std::move(inception),
                                      .max_rows = max_rows()});
}

absl::StatusOr<LoadedRun> Loader::LoadEvaluation(const EvaluationSettings& settings) {
  ASSIGN_OR_RETURN(const LoadedModelHandle loaded,
                   LoadModel(environment_.state->base_model(job_), "base", {.devices = {device_}}));
  ASSIGN_OR_RETURN(auto data, OpenStored(environment_, settings.dataset(), *loaded->model));
  ASSIGN_OR_RETURN(ModelEvaluation::Setup setup,
                   MakeEvaluation(settings, *loaded->model, std::move(data)));
  setup.network = loaded->pipelines.front()->network;
  auto evaluation = ModelEvaluation::Create(std::move(setup));
  if (!evaluation.ok()) return DeviceStatus(evaluation.status());
  LoadedRun run;
  run.recorder = std::make_unique<RunRecorder>(RunRecorder::Destination{.store = environment_.store,
                                                                        .checkpoints = nullptr,
                                                                        .job = job_,
                                                                        .tenant = tenant_,
                                                                        .ema_decays = {}},
                                               std::move(written_));
  run.task = std::make_shared<EvaluationTask>(*std::move(evaluation), run.recorder.get(),
                                              environment_.observer, std::move(ended_));
  return run;
}

absl::StatusOr<LoadedRun> Load(Loader& loader, const TrainingJob& record) {
  try {
    ASSIGN_OR_RETURN(LoadedRun run, record.has_training()
                                        ? loader.LoadTraining(record.training())
                                        : loader.LoadEvaluation(record.evaluation()));
    run.priority = record.priority();
    return run;
  } catch (const std::exception& error) {  // LibTorch's, or memory ran out
    return DeviceStatus(DeviceError(error));
  }
}

}  // namespace

absl::StatusOr<LoadedRun> LoadRun(const RunEnvironment& environment, int64_t job, int device,
                                  std::function<void()> written, std::function<void()> ended) {
  ASSIGN_OR_RETURN(const TrainingJob record, environment.store->Get(job));
  Loader loader(environment, job, record.tenant(), device, std::move(written), std::move(ended));
  absl::StatusOr<LoadedRun> run = Load(loader, record);
  if (absl::IsInternal(run.status()) && !Works(environment.engine->options().devices[device])) {
    return DeviceFailedError();
  }
  return run;
}

absl::StatusOr<PictureOrder> GridOf(const TrainingSettings& settings, const ModelInfo& model) {
  const auto& policy = settings.samples();
  PictureOrder order;
  ASSIGN_OR_RETURN(order.plan, PlanOf(policy.sampler(), model));
  order.conditionings =
      SpreadOverClasses(model.spec, model.null_class_label, policy.guidance_scale());
  order.count = policy.count();
  return order;
}

}  // namespace denoise
