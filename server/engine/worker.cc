#include "server/engine/worker.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/diffusion/row_batch.h"

namespace denoise {
namespace {

bool WantsFrame(const FrameOptions& frames, const Trajectory& trajectory) {
  if (frames.every_n_steps == 0 || !trajectory.last().ends_step) return false;
  return trajectory.steps_done() % frames.every_n_steps == 0 || trajectory.done();
}

struct Picture {
  ActiveImage* image;
  size_t copy;
};

// Pictures on their way to the host: gathered on the device, copied at once.
class HostCopies {
 public:
  size_t Add(const at::Tensor& picture) {
    pictures_.push_back(picture);
    return pictures_.size() - 1;
  }
  absl::Status Copy() {
    try {
      if (!pictures_.empty()) host_ = at::stack(pictures_).to(at::kCPU);
      return absl::OkStatus();
    } catch (const std::exception& error) {
      return absl::InternalError(absl::StrCat("copying pictures failed: ", error.what()));
    }
  }
  at::Tensor operator[](size_t i) const { return host_[static_cast<int64_t>(i)]; }

 private:
  std::vector<at::Tensor> pictures_;
  at::Tensor host_;
};

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
  const c10::InferenceMode inference;
  while (auto batch = scheduler_.NextBatch(index_)) {
    if (batch->images.empty()) {
      ReportLoad();
      continue;
    }
    const int trajectories = static_cast<int>(batch->images.size());
    const Outputs outputs = Evaluate(*batch);
    Resume(*batch, outputs.x0);
    Report(*batch, trajectories, outputs.network_time);
  }
}

// LibTorch's exceptions end here. When a batch fails, its images are evaluated one by one, so that
// whatever is wrong with one does not fail its neighbours; those that fail alone leave the batch.
Worker::Outputs Worker::Evaluate(Batch& batch) {
  try {
    return EvaluateTogether(batch);
  } catch (const std::exception&) {
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
  Synchronize(output);
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
      scheduler_.Remove(index_, image,
                        absl::InternalError(absl::StrCat("the network failed: ", error.what())));
    }
  }
  batch.images = std::move(evaluated);
  return {x0.empty() ? at::Tensor() : at::cat(x0), network_time};
}

void Worker::Begin(ActiveImage& image) {
  const GenerationRequest& request = image.generation->request();
  image.generation->Started(clock_.Now());
  image.trajectory.emplace(request.plan, request.conditioning,
                           request.seed + static_cast<uint64_t>(image.index),
                           *(*request.networks)[index_]);
}

// Frames out, finished images out. A failure to bring pictures to the host ends every image of the
// batch.
void Worker::Resume(const Batch& batch, const at::Tensor& x0) {
  HostCopies copies;
  std::vector<Picture> frames, finished;
  for (size_t i = 0; i < batch.images.size(); ++i) {
    ActiveImage* image = batch.images[i];
    const Trajectory& trajectory = *image->trajectory;
    const FrameOptions& wanted = image->generation->request().frames;
    if (trajectory.last().ends_step) image->generation->Step(image->index, trajectory.steps_done());
    if (WantsFrame(wanted, trajectory)) {
      frames.push_back(
          {image, copies.Add(wanted.kind == FrameKind::kX0 ? x0[static_cast<int64_t>(i)]
                                                           : trajectory.PictureOfX())});
    }
    if (trajectory.done()) {
      finished.push_back({image, copies.Add(trajectory.x())});
    } else {
      image->rows = trajectory.guided() ? 2 : 1;
    }
  }
  if (const absl::Status status = copies.Copy(); !status.ok()) {
    for (ActiveImage* image : batch.images) scheduler_.Remove(index_, image, status);
    return;
  }
  for (const Picture& frame : frames) SendFrame(*frame.image, copies[frame.copy]);
  for (const Picture& picture : finished) Finish(picture.image, copies[picture.copy]);
}

void Worker::SendFrame(const ActiveImage& image, at::Tensor sample) {
  const Trajectory& trajectory = *image.trajectory;
  image.generation->Frame({.image_index = image.index,
                           .step = trajectory.steps_done(),
                           .timestep = trajectory.last().timestep,
                           .kind = image.generation->request().frames.kind,
                           .sample = std::move(sample)});
}

void Worker::Finish(ActiveImage* image, at::Tensor sample) {
  if (!at::isfinite(sample).all().item<bool>()) {
    scheduler_.Remove(index_, image, absl::InternalError("the network's output was not finite"));
    return;
  }
  const uint64_t seed = image->generation->request().seed + static_cast<uint64_t>(image->index);
  image->generation->Image(
      {.image_index = image->index, .seed = seed, .sample = std::move(sample)});
  scheduler_.Remove(index_, image, absl::OkStatus());
}

void Worker::ReportLoad() {
  if (observer_ == nullptr) return;
  observer_->OnQueueDepth(scheduler_.QueueDepth());
  observer_->OnActiveRows(device_name_, scheduler_.ActiveRows(index_));
}

void Worker::Report(const Batch& batch, int trajectories, absl::Duration network_time) {
  ReportLoad();
  if (observer_ == nullptr) return;
  observer_->OnEvaluation(device_name_, trajectories, batch.rows, network_time,
                          clock_.Now() - batch.ready);
}

// Kernels of an accelerator run behind the host; reading a value waits for them, so that time is
// counted where it is spent and the host never runs ahead of the device.
void Worker::Synchronize(const at::Tensor& tensor) const {
  if (!device_.is_cpu()) tensor.flatten()[0].item<float>();
}

}  // namespace denoise
