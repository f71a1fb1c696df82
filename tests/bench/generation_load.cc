#include "tests/bench/generation_load.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/io/checkpoint.h"
#include "core/sampling/compile_plan.h"
#include "server/engine/engine.h"
#include "tests/server/engine/recording_sink.h"

namespace denoise {
namespace {

// Stands for a trainer: the same calls, without data and optimiser.
class TrainingTask : public DeviceTask {
 public:
  TrainingTask(std::shared_ptr<const Network> network, int rows) : network_(std::move(network)) {
    const NetworkSpec& spec = network_->spec();
    input_.x = at::randn({rows, spec.in_channels, spec.height, spec.width}).set_requires_grad(true);
    input_.timesteps = at::full({rows}, 500.0, at::kFloat);
    if (spec.num_class_embeds > 0) input_.class_labels = at::zeros({rows}, at::kLong);
  }

  Outcome RunSlice() override {
    network_->Forward(input_).square().mean().backward();
    return Outcome::kMore;
  }
  void OnFailed(const absl::Status&) override {}

 private:
  const std::shared_ptr<const Network> network_;
  NetworkInput input_;
};

// Read once its engine is gone.
class SliceTimes : public EngineObserver {
 public:
  void OnQueueDepth(int) override {}
  void OnActiveRows(const std::string&, int) override {}
  void OnBatchFailed(const std::string&, const std::string&) override {}
  void OnEvaluation(const std::string&, const EvaluationReport&) override {}
  void OnSlice(const std::string&, absl::Duration duration) override {
    ++slices;
    seconds += absl::ToDoubleSeconds(duration);
  }
  void OnTaskFailed(const std::string&, const std::string&) override {}

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
  request.networks = std::make_shared<NetworkReplicas>(NetworkReplicas{checkpoint.network});
  request.plan = std::make_shared<const SamplerPlan>(std::move(plan));
  if (checkpoint.network->spec().num_class_embeds > 0) {
    request.conditioning.class_weights = {{0}};
  }
  return GenerationBench(options, std::move(request));
}

absl::StatusOr<GenerationTimes> GenerationBench::Measure(const GenerationLoad& load) const {
  std::vector<absl::StatusOr<std::vector<double>>> seconds(load.clients);
  SliceTimes slices;
  const absl::Time start = absl::Now();
  {
    Engine engine(EngineOptions(options_.threads, load.training_share.value_or(0)), Clock::Real(),
                  &slices);
    if (load.training_share) {
      engine.AddTask(
          std::make_shared<TrainingTask>(request_.networks->front(), options_.slice_rows), 0);
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
    engine.AddTask(std::make_shared<TrainingTask>(request_.networks->front(), options_.slice_rows),
                   0);
    absl::SleepFor(time);
  }
  return slices.slices / slices.seconds;
}

}  // namespace denoise
