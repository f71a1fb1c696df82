#include "server/engine/engine.h"

#include <algorithm>
#include <utility>

#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/engine/active_generation.h"
#include "server/engine/measurement_task.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker.h"
#include "server/scheduling/scheduler.h"

namespace denoise {
namespace {

// For requests that a drain cuts off: by then another replica has taken over.
constexpr absl::Duration kRetryElsewhere = absl::Seconds(5);
// With more, requests would hardly progress.
constexpr double kMaxTrainingShare = 0.99;

// A guided image needs two rows, and a loop at least one full batch.
Engine::Options Sane(Engine::Options options) {
  options.max_batch_rows = std::max(options.max_batch_rows, 2);
  options.max_active_rows = std::max(options.max_active_rows, options.max_batch_rows);
  options.queue_size = std::max(options.queue_size, 1);
  options.cpu_threads = std::max(options.cpu_threads, 1);
  options.batch_efficiency = std::clamp(options.batch_efficiency, 0.0, 1.0);
  options.training_share = std::clamp(options.training_share, 0.0, kMaxTrainingShare);
  return options;
}

Scheduler::Options SchedulerOptions(const Engine::Options& options) {
  return {.workers = static_cast<int>(options.devices.size()),
          .batching = options.batching,
          .max_batch_rows = options.max_batch_rows,
          .max_active_rows = options.max_active_rows,
          .batch_efficiency = options.batch_efficiency,
          .queue_size = options.queue_size,
          .training_share = options.training_share,
          .tenant_weights = options.tenant_weights,
          .tenant_queue_size = options.tenant_queue_size,
          .tenant_cost_max = options.tenant_cost_max,
          .turn_time_max = options.turn_time_max};
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const Options& options, const Clock& clock, EngineObserver* observer)
      : options_(Sane(options)),
        clock_(clock),
        observer_(observer),
        scheduler_(SchedulerOptions(options_), clock) {
    try {
      for (size_t i = 0; i < options_.devices.size(); ++i) {
        workers_.push_back(std::make_unique<Worker>(static_cast<int>(i), options_, scheduler_,
                                                    memory_, clock, observer));
      }
    } catch (...) {  // a thread could not start: let the running ones end
      scheduler_.Stop();
      throw;
    }
  }

  const Options& options() const { return options_; }
  const Clock& clock() const { return clock_; }
  Scheduler& scheduler() { return scheduler_; }
  MemoryBudget& memory() { return memory_; }

  EngineObserver* observer() const { return observer_; }
  EngineCounts counts() const {
    if (observer_ == nullptr) return {};
    return {.requests = observer_->RequestCount(), .images = observer_->ImageCount()};
  }

 private:
  const Options options_;
  const Clock& clock_;
  EngineObserver* const observer_;
  Scheduler scheduler_;
  MemoryBudget memory_;
  std::vector<std::unique_ptr<Worker>> workers_;  // joined before the scheduler goes
};

Engine::Engine(const Options& options, const Clock& clock, EngineObserver* observer)
    : impl_(std::make_unique<Impl>(options, clock, observer)) {}

Engine::~Engine() {
  Drain(absl::InfinitePast());
  impl_->scheduler().Stop();
}

const Engine::Options& Engine::options() const { return impl_->options(); }

absl::StatusOr<Engine::Id> Engine::Submit(GenerationRequest request,
                                          std::shared_ptr<GenerationSink> sink) {
  RETURN_IF_ERROR(impl_->memory().Admit(request));
  const absl::StatusOr<Id> id = impl_->scheduler().Submit(std::make_shared<ActiveGeneration>(
      std::move(request), std::move(sink), impl_->clock().Now(), impl_->counts()));
  if (EngineObserver* const observer = impl_->observer(); id.ok() && observer != nullptr) {
    observer->OnSubmit();
    // A device that hangs would not say it.
    observer->OnQueueDepth(impl_->scheduler().QueueDepth());
    observer->OnOutstandingCost(impl_->scheduler().OutstandingCost());
  }
  return id;
}

void Engine::Cancel(Id id) {
  impl_->scheduler().End(id, absl::CancelledError("the generation was cancelled"));
}

void Engine::Pause(Id id) { impl_->scheduler().HandOver(id, PausedError()); }

Engine::TaskId Engine::AddTask(std::shared_ptr<DeviceTask> task, int device, int priority) {
  return impl_->scheduler().AddTask(std::move(task), device, priority);
}

std::vector<QueuedRequest> Engine::Queue() const {
  std::vector<QueuedRequest> queue;
  for (const Queued& queued : impl_->scheduler().Queue()) {
    const auto& generation = static_cast<const ActiveGeneration&>(*queued.work);
    const GenerationRequest& request = generation.request();
    queue.push_back({.name = request.name,
                     .model = request.model,
                     .count = request.count,
                     .steps = request.plan->NumSteps(),
                     .priority = request.priority,
                     .submitted = generation.submitted(),
                     .expected_wait = queued.place.expected_wait});
  }
  return queue;
}

std::optional<absl::Duration> Engine::CostOf(const GenerationRequest& request) const {
  return impl_->scheduler().CostOf(DemandOf(request));
}

int Engine::FittingEvaluations(const GenerationRequest& request) const {
  return impl_->scheduler().FittingEvaluations(DemandOf(request));
}

void Engine::Measure(const std::shared_ptr<const PipelineReplicas>& pipelines) {
  for (size_t i = 0; i < pipelines->size(); ++i) {
    const SampleShape shape = (*pipelines)[i]->network->spec().sample;
    const std::weak_ptr<const PipelineReplicas> weak = pipelines;
    const auto record = [scheduler = &impl_->scheduler(), weak, shape](int rows,
                                                                       absl::Duration time) {
      if (const auto network = weak.lock()) {
        scheduler->RecordEvaluation(network, shape.height, shape.width, rows, time);
      }
    };
    const MeasurementTask::Options measured = {.max_rows = options().max_batch_rows};
    AddTask(std::make_shared<MeasurementTask>(weak, i, measured, &impl_->clock(), &impl_->memory(),
                                              record),
            static_cast<int>(i));
  }
}

std::vector<EvaluationTime> Engine::EvaluationTimes(
    const std::shared_ptr<const PipelineReplicas>& pipelines) const {
  const SampleShape shape = pipelines->front()->network->spec().sample;
  std::vector<EvaluationTime> times;
  for (const auto& [rows, time] :
       impl_->scheduler().EvaluationTimes(pipelines, shape.height, shape.width)) {
    times.push_back({.rows = rows, .time = time});
  }
  return times;
}

void Engine::SetEvaluationTimes(const std::shared_ptr<const PipelineReplicas>& pipelines,
                                const std::vector<EvaluationTime>& times) {
  const SampleShape shape = pipelines->front()->network->spec().sample;
  for (const auto& [rows, time] : times) {
    impl_->scheduler().AssumeEvaluation(pipelines, shape.height, shape.width, rows, time);
  }
}

absl::Duration Engine::OutstandingCost() const { return impl_->scheduler().OutstandingCost(); }

int Engine::LeastLoadedDevice() const { return impl_->scheduler().LeastLoadedWorker(); }

int Engine::WorkingDevices() const { return impl_->scheduler().WorkingWorkers(); }

void Engine::LookForHangs() {
  for (const auto& [worker, hangs] : impl_->scheduler().FindHangs()) {
    if (options().on_device_hangs)
      options().on_device_hangs(options().devices[worker].str(), hangs);
  }
}

void Engine::CheckDevices() { impl_->scheduler().CheckWorkers(); }

void Engine::Wake(TaskId id) { impl_->scheduler().Wake(id); }

void Engine::RemoveTask(TaskId id) { impl_->scheduler().RemoveTask(id); }

void Engine::StartDraining() { impl_->scheduler().StartDraining(); }

void Engine::Drain(absl::Time deadline) {
  Scheduler& scheduler = impl_->scheduler();
  scheduler.StartDraining();
  if (scheduler.Drain(deadline)) return;
  scheduler.EndAll(UnavailableRetryAfter("the server is shutting down", kRetryElsewhere));
  scheduler.Drain(absl::InfiniteFuture());
}

}  // namespace denoise
