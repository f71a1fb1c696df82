#include "server/engine/worker.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <exception>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/diffusion/device_errors.h"
#include "core/diffusion/row_batch.h"

namespace denoise {
namespace {

bool WantsFrame(const FrameOptions& frames, const Trajectory& trajectory) {
  if (frames.every_n_steps == 0 || !trajectory.last().ends_step) return false;
  return trajectory.steps_done() % frames.every_n_steps == 0 || trajectory.done();
}

// Between two noises the images of a request are spread evenly.
Start StartOf(const GenerationRequest& request, int index) {
  Start start = request.start;
  if (auto* noise = std::get_if<NoiseStart>(&start); noise != nullptr && noise->to) {
    noise->fraction = static_cast<double>(index) / (request.count - 1);
  }
  return start;
}

}  // namespace

Worker::Worker(int index, at::Device device, int cpu_threads, Scheduler& scheduler,
               const Clock& clock, EngineObserver* observer)
    : index_(index),
      device_(device),
      device_name_(device.str()),
      cpu_threads_(cpu_threads),
      scheduler_(scheduler),
      clock_(clock),
      observer_(observer),
      thread_([this] { Loop(); }) {}

Worker::~Worker() { thread_.join(); }

void Worker::Loop() {
  at::set_num_threads(cpu_threads_);
  while (auto turn = scheduler_.NextTurn(index_)) {
    std::visit([this](auto& batch_or_slice) { Run(batch_or_slice); }, *turn);
  }
}

void Worker::Run(Batch& batch) {
  if (batch.images.empty()) return ReportLoad();
  const c10::InferenceMode inference;
  const int trajectories = static_cast<int>(batch.images.size());
  const Outputs outputs = Evaluate(batch);
  Resume(batch, outputs.x0);
  Report(batch, trajectories, outputs.network_time);
}

// A task that fails is over, and nothing else is.
void Worker::Run(const Slice& slice) {
  const absl::Time before = clock_.Now();
  const absl::StatusOr<DeviceTask::Outcome> outcome = RunSlice(*slice.task);
  if (observer_ != nullptr) {
    observer_->OnSlice(device_name_, clock_.Now() - before);
    if (!outcome.ok()) {
      observer_->OnTaskFailed(device_name_, std::string(outcome.status().message()));
    }
  }
  if (!outcome.ok()) slice.task->OnFailed(outcome.status());
  scheduler_.EndSlice(index_, outcome.value_or(DeviceTask::Outcome::kDone));
}

absl::StatusOr<DeviceTask::Outcome> Worker::RunSlice(DeviceTask& task) const {
  try {
    const DeviceTask::Outcome outcome = task.RunSlice();
    Synchronize();
    return outcome;
  } catch (const std::exception& error) {
    return DeviceError(error);
  } catch (...) {
    return absl::InternalError("a task threw what is no exception");
  }
}

// When a batch fails, its images are evaluated one by one, so that whatever is wrong with one does
// not fail its neighbours; those that fail alone leave the batch. LibTorch's exceptions end here and
// in Resume.
Worker::Outputs Worker::Evaluate(Batch& batch) {
  try {
    return EvaluateTogether(batch);
  } catch (const std::exception& error) {
    if (observer_ != nullptr) observer_->OnBatchFailed(device_name_, DescribeError(error));
    return EvaluateOneByOne(batch);
  }
}

Worker::Outputs Worker::EvaluateTogether(const Batch& batch) {
  std::vector<Trajectory*> trajectories;
  for (ActiveImage* image : batch.images) {
    if (!image->trajectory) Begin(*image);
    trajectories.push_back(&*image->trajectory);
  }
  const Network& network = *(*batch.images.front()->generation->request().networks)[index_];
  RowBatch rows(std::move(trajectories), network);
  const absl::Time before = clock_.Now();
  const at::Tensor output = network.Forward(rows.input());
  Synchronize();
  const absl::Duration network_time = clock_.Now() - before;
  scheduler_.RecordEvaluation(batch.images.front()->generation->request().networks, network_time);
  return {rows.Update(output), network_time};
}

Worker::Outputs Worker::EvaluateOneByOne(Batch& batch) {
  std::vector<ActiveImage*> evaluated;
  std::vector<at::Tensor> x0;
  absl::Duration network_time;
  for (ActiveImage* image : batch.images) {
    try {
      Outputs outputs =
          EvaluateTogether({.images = {image}, .rows = image->rows, .ready = batch.ready});
      evaluated.push_back(image);
      x0.push_back(std::move(outputs.x0));
      network_time += outputs.network_time;
    } catch (const std::exception& error) {
      scheduler_.Remove(
          index_, image,
          absl::InternalError(absl::StrCat("the network failed: ", DescribeError(error))));
    }
  }
  batch.images = std::move(evaluated);
  return {x0.empty() ? at::Tensor() : at::cat(x0), network_time};
}

void Worker::Begin(ActiveImage& image) {
  const GenerationRequest& request = image.generation->request();
  image.generation->Started(clock_.Now());
  image.trajectory.emplace(
      request.plan, request.conditioning, request.seed + static_cast<uint64_t>(image.index),
      *(*request.networks)[index_], StartOf(request, image.index), request.inpainting);
}

// Frames out, finished images out. A failure to take pictures ends every image of the batch.
void Worker::Resume(const Batch& batch, const at::Tensor& x0) {
  Pictures pictures;
  try {
    pictures = TakePictures(batch, x0);
  } catch (const std::exception& error) {
    const auto status =
        absl::InternalError(absl::StrCat("taking pictures: ", DescribeError(error)));
    for (ActiveImage* image : batch.images) scheduler_.Remove(index_, image, status);
    return;
  }
  for (ActiveImage* image : batch.images) {
    const Trajectory& trajectory = *image->trajectory;
    if (trajectory.last().ends_step) image->generation->Step(image->index, trajectory.steps_done());
    if (!trajectory.done()) image->rows = trajectory.rows();
  }
  for (Picture& frame : pictures.frames) SendFrame(std::move(frame));
  for (Picture& picture : pictures.finished) Finish(std::move(picture));
}

// Gathered on the device and brought to the host at once, then a tensor of its own each: a reader
// who is slow to take one must not keep the others in memory.
Worker::Pictures Worker::TakePictures(const Batch& batch, const at::Tensor& x0) const {
  Pictures pictures;
  std::vector<at::Tensor> samples;
  for (size_t i = 0; i < batch.images.size(); ++i) {
    const Trajectory& trajectory = *batch.images[i]->trajectory;
    const FrameOptions& wanted = batch.images[i]->generation->request().frames;
    if (!WantsFrame(wanted, trajectory)) continue;
    for (const FrameKind kind : wanted.kinds) {
      pictures.frames.push_back({.image = batch.images[i], .kind = kind, .sample = {}});
      samples.push_back(kind == FrameKind::kX0 ? x0[static_cast<int64_t>(i)]
                                               : trajectory.PictureOfX());
    }
  }
  for (ActiveImage* image : batch.images) {
    if (!image->trajectory->done()) continue;
    pictures.finished.push_back({.image = image, .sample = {}});
    samples.push_back(image->trajectory->x());
  }
  if (samples.empty()) return pictures;
  const at::Tensor host = at::stack(samples).to(at::kCPU);
  int64_t next = 0;
  for (Picture& frame : pictures.frames) frame.sample = host[next++].clone();
  for (Picture& picture : pictures.finished) {
    picture.sample = host[next++].clone();
    picture.finite = at::isfinite(picture.sample).all().item<bool>();
  }
  return pictures;
}

void Worker::SendFrame(Picture frame) {
  const Trajectory& trajectory = *frame.image->trajectory;
  frame.image->generation->Frame({.image_index = frame.image->index,
                                  .step = trajectory.steps_done(),
                                  .timestep = trajectory.last().timestep,
                                  .kind = frame.kind,
                                  .sample = std::move(frame.sample)});
}

void Worker::Finish(Picture picture) {
  if (!picture.finite) {
    scheduler_.Remove(index_, picture.image,
                      absl::InternalError("the network's output was not finite"));
    return;
  }
  ActiveGeneration& generation = *picture.image->generation;
  generation.Image({.image_index = picture.image->index,
                    .seed = generation.request().seed + static_cast<uint64_t>(picture.image->index),
                    .sample = std::move(picture.sample)});
  scheduler_.Remove(index_, picture.image, absl::OkStatus());
}

void Worker::ReportLoad() {
  if (observer_ == nullptr) return;
  observer_->OnQueueDepth(scheduler_.QueueDepth());
  observer_->OnActiveRows(device_name_, scheduler_.ActiveRows(index_));
}

void Worker::Report(const Batch& batch, int trajectories, absl::Duration network_time) {
  ReportLoad();
  if (observer_ == nullptr) return;
  observer_->OnEvaluation(device_name_, {.trajectories = trajectories,
                                         .rows = batch.rows,
                                         .rows_saved = batch.rows_saved,
                                         .network = network_time,
                                         .total = clock_.Now() - batch.ready});
}

// Kernels of an accelerator run behind the host; waiting for them counts time where it is spent, and
// keeps the host from running ahead of the device.
void Worker::Synchronize() const {
  if (device_.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).synchronize();
}

}  // namespace denoise
