// The pool of device workers. Requests join and leave the shared denoising loops at every network
// evaluation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/object_count.h"
#include "server/engine/generation.h"
#include "server/scheduling/device_task.h"
#include "server/scheduling/fair_share.h"
#include "server/scheduling/work.h"

namespace denoise {

// An image that takes part in a turn, and where it is in its plan.
struct ImageInTurn {
  const GenerationRequest* request;  // valid during the call that reports it
  int index;
  int64_t height, width;  // of the image in pixels
  int rows;
  int evaluations_done = 0;
  int steps_done = 0;
  std::optional<double> timestep = std::nullopt;  // what the network is told, if it is evaluated
};

// What a device does from now on.
struct TurnReport {
  enum class Kind { kIdle, kEncode, kEvaluate, kDecode, kTrain, kMeasure, kFailed };
  Kind kind = Kind::kIdle;
  absl::Time began;
  int active_rows = 0;              // of all images in the loop
  std::vector<ImageInTurn> images;  // those that take part
  std::string task;                 // DeviceTask::name
};

// One batched evaluation.
struct EvaluationReport {
  int trajectories = 0;
  int rows = 0;
  int rows_saved = 0;      // unconditional rows that intervals of guidance left out
  int rows_padded = 0;     // computed for nothing, so that a graph could be replayed
  absl::Duration network;  // the network call
  absl::Duration total;    // from when the batch could have run until its results were sent
};

// One image that went through the codec's decoder.
struct DecodeReport {
  absl::Duration decoding;  // the device's time
  absl::Duration waiting;   // for the device, between its last evaluation and the picture
};

// Hears what the engine does. Called from the engine's threads and those that submit; must not
// block.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnSubmit() = 0;                              // a request waits
  virtual void OnQueueDepth(int requests) = 0;              // requests that have not started
  virtual void OnOutstandingCost(absl::Duration cost) = 0;  // Engine::OutstandingCost
  virtual void OnTurn(const std::string& device, const TurnReport& turn) = 0;
  virtual void OnActiveRows(const std::string& device, int rows) = 0;
  // A batch threw and is evaluated again image by image. `what` is for the log.
  virtual void OnBatchFailed(const std::string& device, const std::string& what) = 0;
  // An evaluation could not be captured as a graph; it runs without. `what` is for the log.
  virtual void OnCaptureFailed(const std::string& device, const std::string& what) = 0;
  virtual void OnEvaluation(const std::string& device, const EvaluationReport& report) = 0;
  // A turn has encoded prompts, or the pictures of one image.
  virtual void OnEncode(const std::string& device, absl::Duration duration) = 0;
  virtual void OnDecode(const std::string& device, const DecodeReport& report) = 0;
  // Images that are denoised and are not decoded yet.
  virtual void OnDecodeQueue(const std::string& device, int images) = 0;
  virtual void OnSlice(const std::string& device, absl::Duration duration) = 0;  // of training
  // A task threw and is removed. `what` is for the log.
  virtual void OnTaskFailed(const std::string& device, const std::string& what) = 0;
  // Where what the engine holds of requests and of their images is counted. Null: nowhere.
  virtual ObjectCount* RequestCount() { return nullptr; }
  virtual ObjectCount* ImageCount() { return nullptr; }
};

// A generation that has not started.
struct QueuedRequest {
  std::string name;  // GenerationRequest's, as the next two
  std::string model;
  int count;
  int steps;
  Priority priority;
  absl::Time submitted;
  std::optional<absl::Duration> expected_wait;  // from now on
};

// What an evaluation of so many rows takes.
struct EvaluationTime {
  int rows = 1;
  absl::Duration time;
};

class Engine {
 public:
  struct Options {
    std::vector<at::Device> devices = {at::Device(at::kCPU)};
    int max_batch_rows = 16;   // rows of one network call
    int max_active_rows = 64;  // rows of all trajectories in one worker's loop; they rotate
    int queue_size = 64;       // requests waiting to start, over all workers
    int cpu_threads = 1;       // intra-op threads of a CPU worker
    // What shares a network call: images at every evaluation, or for comparison whole requests.
    Batching batching = Batching::kEvaluation;
    // A batch grows no larger than it takes to reach this part of the best throughput measured, in
    // [0, 1]. 1: no such cap.
    double batch_efficiency = 0.98;
    TenantWeights tenant_weights = {};  // each above 0
    // Of each tenant: requests waiting to start (0: no limit of its own), and the device time that
    // its accepted requests still need.
    int tenant_queue_size = 0;
    absl::Duration tenant_cost_max = absl::InfiniteDuration();
    // The fraction of a device's time that tasks may take while generation requests wait for it, in
    // [0, 1). 0: tasks run only while there are no requests.
    double training_share = 0.25;
    // Called by a device's thread when the device has failed for good (Works of
    // core/diffusion/device_errors.h), before its work moves to other devices or ends. `what` is for
    // the log. Must not block. May be empty.
    std::function<void(const std::string& device, const std::string& what)> on_device_failed = {};
    // A device whose turn takes longer hangs (LookForHangs). `on_device_hangs` is called when one
    // begins to, and with false when its turn has ended after all. May be empty.
    absl::Duration turn_time_max = absl::InfiniteDuration();
    std::function<void(const std::string& device, bool hangs)> on_device_hangs = {};
  };

  using Id = uint64_t;
  using TaskId = uint64_t;

  // Starts one worker thread per device. `clock` and `observer` (may be null) outlive the engine.
  Engine(const Options& options, const Clock& clock, EngineObserver* observer);
  ~Engine();  // ends the requests that are left, as Drain(now) does

  const Options& options() const;

  // Queues a generation. Thread-safe. Errors, with the reasons of core/base/retry.h:
  //   UNAVAILABLE         the queue is full, the engine is draining, or all devices have failed;
  //                       has a retry delay
  //   RESOURCE_EXHAUSTED  the tenant is at a limit of its own; has a retry delay. Or no device has
  //                       the memory for one image (memory_errors.h)
  //   DEADLINE_EXCEEDED   the deadline has passed or cannot be met, as far as costs are known
  absl::StatusOr<Id> Submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink);

  // Takes effect before the next evaluation: the rows are freed and OnFinished(CANCELLED) follows.
  // Unknown or finished ids are ignored. Thread-safe.
  void Cancel(Id id);

  // Hands a generation over, if its sink accepts that, as draining does: at once if it waits, else
  // before its next evaluation. OnHandover and OnFinished(PausedError()) follow; or only OnFinished,
  // if it ends in the meantime. Unknown or finished ids are ignored. Thread-safe.
  void Pause(Id id);

  // Runs slices of `task` on a device, an index into Options::devices: back to back while there are
  // no requests, and otherwise for Options::training_share of its time. A request that arrives
  // during a slice waits for that slice only. Tasks of a higher priority run first; those of equal
  // priority alternate. The engine keeps the task until it is done, fails or is removed.
  // A task of a device that has failed hears of it as OnFailed(DeviceFailedError()). Thread-safe.
  TaskId AddTask(std::shared_ptr<DeviceTask> task, int device, int priority = 0);

  // The generations that have not started, in the order in which they would start now.
  // Thread-safe.
  std::vector<QueuedRequest> Queue() const;

  // The device time that a request like this takes; nullopt while its model has not been evaluated
  // at its size. Thread-safe.
  std::optional<absl::Duration> CostOf(const GenerationRequest& request) const;

  // How many evaluations each image of the request may have to meet its deadline beside all that is
  // accepted: at most as many as it has, which is also returned where nothing is known. Thread-safe.
  int FittingEvaluations(const GenerationRequest& request) const;

  // The device time that accepted requests still need, as far as it is known. Thread-safe.
  absl::Duration OutstandingCost() const;

  // Measures what evaluations of a new model take, on every device, as tasks of its own. `pipelines`
  // are what its requests will name. Thread-safe.
  void Measure(const std::shared_ptr<const PipelineReplicas>& pipelines);

  // The time of evaluations of these pipelines at their own size by the number of rows, as far as it
  // has been measured; and to begin with what was measured earlier. Thread-safe.
  std::vector<EvaluationTime> EvaluationTimes(
      const std::shared_ptr<const PipelineReplicas>& pipelines) const;
  void SetEvaluationTimes(const std::shared_ptr<const PipelineReplicas>& pipelines,
                          const std::vector<EvaluationTime>& times);

  // The device with the fewest tasks, of those that work if any does: where the tensors of the next
  // task should live. Thread-safe.
  int LeastLoadedDevice() const;

  // Devices that have not failed for good and do not hang. Thread-safe.
  int WorkingDevices() const;
  // Finds devices that hang, as one does whose driver never answers. Their generations end with
  // UNAVAILABLE; while no device works, all do. To be called now and then, by a thread that waits for
  // no device: nothing else would notice.
  void LookForHangs();
  // Has every device's thread find out whether its device works. Called after errors of a device
  // outside of the engine; the engine's own lead to this anyway. Thread-safe, does not wait.
  void CheckDevices();

  // Makes an idle task run again. Unknown ids are ignored. Thread-safe, and may be called from
  // RunSlice.
  void Wake(TaskId id);

  // Returns once no slice of the task runs or will run, and the engine has released it. Unknown ids
  // are ignored. Any thread but the workers' may call it: not RunSlice, a sink or an observer.
  void RemoveTask(TaskId id);

  // Refuses new requests, and hands over those whose sinks accept that, after the evaluations that
  // run now. Thread-safe, and may be called again.
  void StartDraining();

  // Refuses new requests, hands over those whose sinks accept that, lets others finish until
  // `deadline`, and then ends the rest with UNAVAILABLE. Returns once OnFinished has been called on
  // every sink. Thread-safe, and may be called again.
  //
  // Tasks are not notified and keep running. Destroying the engine runs no further slice and
  // releases the tasks that are left. So whoever added a task and has to save its work removes the
  // task before or during Drain, saves, and then destroys the engine.
  void Drain(absl::Time deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise
