#include "tests/bench/generation_load.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/io/checkpoint.h"
#include "core/io/parsed_model.h"
#include "core/nn/unet2d.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/server/engine/recording_sink.h"
#include "tests/server/engine/silent_observer.h"
#include "tests/support/class_conditions.h"
#include "tests/support/fixed_batches.h"

namespace denoise {
namespace {

class TrainerTask : public DeviceTask {
 public:
  explicit TrainerTask(std::shared_ptr<Trainer> trainer) : trainer_(std::move(trainer)) {}

  Outcome RunSlice() override {
    return trainer_->RunSlice().ok() ? Outcome::kMore : Outcome::kDone;
  }
  void OnFailed(const absl::Status&) override {}

 private:
  const std::shared_ptr<Trainer> trainer_;
};

TrainingRows RandomPictures(const NetworkSpec& spec, int count) {
  TrainingRows rows;
  rows.x0 = at::rand({count, spec.sample.channels, spec.sample.height, spec.sample.width}) * 2 - 1;
  if (spec.num_class_embeds > 0) {
    rows.class_labels = at::arange(count, at::kLong).remainder(spec.num_class_embeds);
  }
  return rows;
}

// Trains the weights of `checkpoint` on, as a job does but for reading pictures.
absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const Checkpoint& checkpoint,
                                                     const GenerationBench::Options& options) {
  ASSIGN_OR_RETURN(const ParsedModel model, ParsedModel::Open(options.checkpoint));
  Trainer::Setup setup;
  ASSIGN_OR_RETURN(setup.weights, model.LoadWeights());
  setup.binder = [config = model.description().unet](const StateDict& parameters,
                                                     at::ScalarType dtype) {
    return BindUNet2D(config, parameters, dtype, {.batch_invariant = false});
  };
  setup.scheduler = checkpoint.scheduler;
  setup.batches = std::make_shared<FixedBatches>(
      RandomPictures(checkpoint.network->spec(), options.batch_size));
  setup.options.max_steps = std::numeric_limits<int>::max();
  setup.options.batch_size = options.batch_size;
  setup.options.micro_batch_size = options.micro_batch_size;
  return Trainer::Create(std::move(setup));
}

// Read once its engine is gone.
class SliceTimes : public SilentObserver {
 public:
  void OnSlice(const std::string&, absl::Duration duration) override {
    ++slices;
    seconds += absl::ToDoubleSeconds(duration);
  }

  int slices = 0;
  double seconds = 0;
};

Engine::Options EngineOptions(int threads, double training_share) {
  Engine::Options options;
  options.cpu_threads = threads;
  options.training_share = training_share;
  return options;
}

absl::StatusOr<std::vector<double>> RunClient(Engine& engine, GenerationRequest request,
                                              const GenerationLoad& load, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> pause(1);
  std::vector<double> seconds;
  for (int i = 0; i < load.requests; ++i) {
    absl::SleepFor(load.mean_pause * pause(random));
    request.seed = seed + static_cast<uint64_t>(i);
    const auto sink = std::make_shared<RecordingSink>();
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(engine.Submit(request, sink).status());
    RETURN_IF_ERROR(sink->WaitUntilFinished());
    seconds.push_back(absl::ToDoubleSeconds(absl::Now() - start));
  }
  return seconds;
}

}  // namespace

void GenerationTimes::Add(const GenerationTimes& other) {
  request_seconds.insert(request_seconds.end(), other.request_seconds.begin(),
                         other.request_seconds.end());
  wall_seconds += other.wall_seconds;
  slice_seconds += other.slice_seconds;
  slices += other.slices;
}

absl::StatusOr<GenerationBench> GenerationBench::Load(const Options& options) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, LoadCheckpoint(options.checkpoint, {}));
  ASSIGN_OR_RETURN(const Schedule schedule, Schedule::Create(checkpoint.scheduler.schedule));
  SamplerOptions sampler = checkpoint.scheduler.sampler;
  sampler.sampler = SamplerKind::kDdim;
  sampler.steps = options.steps;
  ASSIGN_OR_RETURN(SamplerPlan plan, CompilePlan(schedule, sampler));
  GenerationRequest request;
  ASSIGN_OR_RETURN(std::shared_ptr<Trainer> trainer, MakeTrainer(checkpoint, options));
  request.shape = checkpoint.network->spec().sample;
  request.pipelines =
      std::make_shared<PipelineReplicas>(PipelineReplicas{PixelPipeline(checkpoint.network)});
  request.plan = std::make_shared<const SamplerPlan>(std::move(plan));
  if (checkpoint.network->spec().num_class_embeds > 0) {
    request.conditioning.conditions = Classes({{0}});
  }
  return GenerationBench(options, std::move(request), std::move(trainer));
}

absl::StatusOr<GenerationTimes> GenerationBench::Measure(const GenerationLoad& load) const {
  std::vector<absl::StatusOr<std::vector<double>>> seconds(load.clients);
  SliceTimes slices;
  const absl::Time start = absl::Now();
  {
    Engine engine(EngineOptions(options_.threads, load.training_share.value_or(0)), Clock::Real(),
                  &slices);
    if (load.training_share) {
      engine.AddTask(std::make_shared<TrainerTask>(trainer_), 0);
    }
    std::vector<std::thread> clients;
    for (int i = 0; i < load.clients; ++i) {
      clients.emplace_back([&, i] { seconds[i] = RunClient(engine, request_, load, 1000 * i); });
    }
    for (std::thread& client : clients) client.join();
  }
  GenerationTimes times = {.request_seconds = {},
                           .wall_seconds = absl::ToDoubleSeconds(absl::Now() - start),
                           .slice_seconds = slices.seconds,
                           .slices = slices.slices};
  for (auto& of_client : seconds) {
    RETURN_IF_ERROR(of_client.status());
    times.request_seconds.insert(times.request_seconds.end(), of_client->begin(), of_client->end());
  }
  return times;
}

double GenerationBench::SlicesPerSecondAlone(absl::Duration time) const {
  SliceTimes slices;
  {
    Engine engine(EngineOptions(options_.threads, 0), Clock::Real(), &slices);
    engine.AddTask(std::make_shared<TrainerTask>(trainer_), 0);
    absl::SleepFor(time);
  }
  return slices.slices / slices.seconds;
}

}  // namespace denoise
