#include "server/engine/measurement_task.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

namespace denoise {
namespace {

// What CLIP's text encoders give.
constexpr int64_t kTokens = 77;
// The first run of each number of rows chooses kernels and takes memory that it keeps, and is not
// recorded.
constexpr int kRuns = 4;
// A smaller gain of throughput counts as none.
constexpr double kRise = 1.05;

}  // namespace

MeasurementTask::MeasurementTask(std::weak_ptr<const PipelineReplicas> pipelines, size_t index,
                                 const Options& options, const Clock* clock, MemoryBudget* memory,
                                 Record record)
    : pipelines_(std::move(pipelines)),
      index_(index),
      options_(options),
      clock_(clock),
      memory_(memory),
      record_(std::move(record)) {}

DeviceTask::Outcome MeasurementTask::RunSlice() {
  const std::shared_ptr<const PipelineReplicas> pipelines = pipelines_.lock();
  if (!pipelines) return Outcome::kDone;
  const Network& network = *(*pipelines)[index_]->network;
  if (!runtime_) runtime_ = MakeDeviceRuntime(network.device());
  const SampleShape& shape = network.spec().sample;
  const int64_t pixels = shape.height * shape.width;
  if (runs_ == 0 && !HasMemory(pipelines, pixels)) return Outcome::kDone;
  absl::Duration time;
  const auto peak = runtime_->PeakMemory([&] { time = Evaluate(network); });
  if (peak && runs_ > 0) memory_->Record(pipelines, pixels, rows_, *peak);
  used_ += time;
  if (runs_ > 0) {
    record_(rows_, time);
    fastest_ = runs_ == 1 ? time : std::min(fastest_, time);
  }
  if (used_ >= options_.budget) return Outcome::kDone;
  if (++runs_ < kRuns) return Outcome::kMore;
  if (rows_ * 2 > options_.max_rows || RisesNoMore()) return Outcome::kDone;
  throughput_ = rows_ / absl::ToDoubleSeconds(fastest_);
  rows_ *= 2;
  runs_ = 0;
  return Outcome::kMore;
}

bool MeasurementTask::RisesNoMore() const {
  return throughput_ && rows_ / absl::ToDoubleSeconds(fastest_) < kRise * *throughput_;
}

bool MeasurementTask::HasMemory(const MemoryBudget::Pipelines& pipelines, int64_t pixels) const {
  const std::optional<int64_t> bytes = memory_->BytesFor(pipelines, pixels, rows_);
  return !bytes || HasFree(*runtime_, *bytes);
}

absl::Duration MeasurementTask::Evaluate(const Network& network) {
  const c10::InferenceMode inference;
  const NetworkInput input =
      ProbeInput(network.spec(), network.device(), network.spec().sample, rows_, kTokens);
  runtime_->Mark()->Wait();
  const absl::Time before = clock_->Now();
  network.Forward(input);
  runtime_->Mark()->Wait();
  return clock_->Now() - before;
}

// There is no memory for so many rows, or the network cannot run: requests will say so.
void MeasurementTask::OnFailed(const absl::Status&) {}

}  // namespace denoise
