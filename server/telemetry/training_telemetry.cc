#include "server/telemetry/training_telemetry.h"

#include "absl/strings/ascii.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

using denoised::v1::TrainingJob;
using prometheus::BuildCounter;
using prometheus::BuildGauge;

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

std::string StateLabel(TrainingJob::State state) {
  return absl::AsciiStrToLower(TrainingJob::State_Name(state));
}

}  // namespace

TrainingTelemetry::TrainingTelemetry(prometheus::Registry& registry)
    : job_states_(BuildCounter()
                      .Name("denoised_job_states_total")
                      .Help("Training jobs that came into a state.")
                      .Register(registry)),
      running_jobs_(BuildGauge()
                        .Name("denoised_running_jobs")
                        .Help("Training jobs that run.")
                        .Register(registry)
                        .Add({})),
      steps_(AddCounter(registry, "denoised_training_steps_total", "Optimizer steps taken.")),
      pictures_(AddCounter(registry, "denoised_training_pictures_total", "Pictures trained on.")),
      step_seconds_(AddCounter(registry, "denoised_training_step_seconds_total",
                               "Device time of the optimizer steps taken.")),
      loss_(BuildGauge()
                .Name("denoised_training_loss")
                .Help("Loss of the latest optimizer step of each job that runs.")
                .Register(registry)),
      ranks_(BuildGauge()
                 .Name("denoised_training_ranks")
                 .Help("Ranks that train each job that runs on several machines.")
                 .Register(registry)) {
  for (const TrainingJob::State state :
       {TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::PAUSED, TrainingJob::CANCELLING,
        TrainingJob::SUCCEEDED, TrainingJob::FAILED, TrainingJob::CANCELLED}) {
    job_states_.Add({{"state", StateLabel(state)}});
  }
}

void TrainingTelemetry::OnJobState(const std::string& job, TrainingJob::State state,
                                   const std::string& reason) {
  job_states_.Add({{"state", StateLabel(state)}}).Increment();
  if (state != TrainingJob::RUNNING) Forget(job);
  LogEvent(state == TrainingJob::FAILED ? spdlog::level::err : spdlog::level::info, "job state",
           {{"job", job}, {"state", StateLabel(state)}, {"reason", reason}});
}

void TrainingTelemetry::OnRunningJobs(int jobs) { running_jobs_.Set(jobs); }

void TrainingTelemetry::OnTrainingStep(const std::string& job, const TrainedStep& step) {
  steps_.Increment();
  pictures_.Increment(step.pictures);
  step_seconds_.Increment(absl::ToDoubleSeconds(step.device_time));
  const MutexLock lock(mutex_);
  prometheus::Gauge*& loss = gauges_[job].loss;
  if (loss == nullptr) loss = &loss_.Add({{"training_job", job}});
  loss->Set(step.loss);
}

void TrainingTelemetry::OnRendezvous(int port) {
  LogEvent(spdlog::level::info, "other ranks can join", {{"port", port}});
}

void TrainingTelemetry::OnRanks(const std::string& job, int ranks) {
  if (ranks == 0) {
    LogEvent(spdlog::level::info, "job waits for ranks", {{"job", job}});
  } else {
    LogEvent(spdlog::level::info, "ranks train together", {{"job", job}, {"ranks", ranks}});
  }
  const MutexLock lock(mutex_);
  prometheus::Gauge*& gauge = gauges_[job].ranks;
  if (gauge == nullptr) gauge = &ranks_.Add({{"training_job", job}});
  gauge->Set(ranks);
}

void TrainingTelemetry::Forget(const std::string& job) {
  const MutexLock lock(mutex_);
  const auto found = gauges_.find(job);
  if (found == gauges_.end()) return;
  if (found->second.loss != nullptr) loss_.Remove(found->second.loss);
  if (found->second.ranks != nullptr) ranks_.Remove(found->second.ranks);
  gauges_.erase(found);
}

void TrainingTelemetry::OnRankLost(const std::string& job, const absl::Status& reason) {
  LogEvent(spdlog::level::warn, "rank lost",
           {{"job", job},
            {"reason", std::string(reason.message())},
            {"next", "the job continues from its last checkpoint once ranks have gathered"}});
}

void TrainingTelemetry::OnRecovery(std::string_view what, std::string_view item,
                                   std::string_view reason) {
  LogEvent(spdlog::level::warn, "state recovered",
           {{"what", what}, {"item", item}, {"reason", reason}});
}

void TrainingTelemetry::OnError(std::string_view what, const absl::Status& status) {
  LogEvent(spdlog::level::err, "trouble",
           {{"what", what},
            {"code", absl::StatusCodeToString(status.code())},
            {"message", std::string(status.message())}});
}

}  // namespace denoise
