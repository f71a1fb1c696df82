#include "server/engine/worker.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <pthread.h>

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/diffusion/device_errors.h"
#include "core/pipeline/begin.h"
#include "server/engine/memory_errors.h"

namespace denoise {
namespace {

// The turn's device has failed for good. No std::exception, so that it passes every handler of those.
struct DeviceFailure {
  std::string what;
};

// Between two noises the images of a request are spread evenly.
Start StartOf(const GenerationRequest& request, int index) {
  Start start = request.start;
  if (auto* noise = std::get_if<NoiseStart>(&start); noise != nullptr && noise->to) {
    noise->fraction = static_cast<double>(index) / (request.count - 1);
  }
  return start;
}

int RowsOf(const std::vector<ActiveImage*>& images) {
  int rows = 0;
  for (const ActiveImage* image : images) rows += image->rows;
  return rows;
}

}  // namespace

Worker::Worker(int index, const Engine::Options& options, Scheduler& scheduler,
               MemoryBudget& memory, const Clock& clock, EngineObserver* observer)
    : index_(index),
      options_(options),
      device_(options.devices[index]),
      device_name_(device_.str()),
      scheduler_(scheduler),
      memory_(memory),
      clock_(clock),
      reports_(index, device_name_, scheduler, clock, observer),
      thread_([this] { Loop(); }) {}

Worker::~Worker() { thread_.join(); }

void Worker::Loop() {
  // For ps and top; Linux takes 15 characters.
  pthread_setname_np(pthread_self(), absl::StrCat("device ", device_name_).substr(0, 15).c_str());
  at::set_num_threads(options_.cpu_threads);
  runtime_ = MakeDeviceRuntime(device_);
  AddMemory();
  loops_.emplace(index_, runtime_, &memory_,
                 [this](const std::exception& error) { reports_.CaptureFailed(error); });
  while (const auto turn = scheduler_.NextTurn(index_)) {
    RunTurn(*turn);
    if (device_failed_) {
      reports_.Turn(TurnReport{.kind = TurnReport::Kind::kFailed});
    } else if (!scheduler_.HasTurn(index_)) {
      reports_.Turn(TurnReport{.kind = TurnReport::Kind::kIdle});
    }
  }
  loops_.reset();
  runtime_.reset();
}

// A device that does not answer fails in its first turn.
void Worker::AddMemory() {
  try {
    if (const auto memory = runtime_->Memory()) memory_.AddDevice(memory->total_bytes);
  } catch (const std::exception&) {
  }
}

void Worker::RunTurn(const Turn& turn) {
  const auto run = [this](const auto& batch_or_slice) {
    reports_.Turn(batch_or_slice);
    Run(batch_or_slice);
  };
  if (!device_failed_) {
    try {
      return std::visit(run, turn);
    } catch (const DeviceFailure& failure) {
      OnDeviceFailed(failure.what);
    }
  }
  if (const auto* slice = std::get_if<Slice>(&turn)) {
    slice->task->OnFailed(DeviceFailedError());
    scheduler_.EndSlice(index_, DeviceTask::Outcome::kDone);
  }
}

void Worker::OnDeviceFailed(const std::string& what) {
  device_failed_ = true;
  if (options_.on_device_failed) options_.on_device_failed(device_name_, what);
  pending_.clear();
  loops_.reset();
  scheduler_.FailWorker(index_);
  reports_.Load();
}

void Worker::EndTurnIfDeviceFailed(const std::exception& error) const {
  if (IsOutOfMemory(error) || Works(*runtime_)) return;
  throw DeviceFailure{DescribeError(error)};
}

void Worker::Run(const Check&) {
  try {
    runtime_->Check();
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
  }
}

void Worker::Run(const Batch& batch) {
  const Images images = ImagesOf(batch);
  if (images.empty()) {
    ReleaseUnused();
    return reports_.Load();
  }
  const c10::InferenceMode inference;
  switch (batch.stage) {
    case Stage::kEncode:
      RunEncode(images);
      break;
    case Stage::kEvaluate:
      RunEvaluate(batch, images);
      break;
    case Stage::kDecode:
      RunDecode(*images.front());
      break;
  }
  if (scheduler_.ActiveRows(index_) == 0) ReleaseUnused();  // nothing may come for long
}

// An image whose prompts or pictures cannot be encoded ends alone.
void Worker::RunEncode(const Images& images) {
  // Images may be gone afterwards.
  const Pipelines pipelines = images.front()->generation->request().pipelines;
  const SampleShape shape = images.front()->generation->request().shape;
  const absl::Time before = clock_.Now();
  const EncodedConditions encoded = EncodeTogether(images);
  for (ActiveImage* image : images) {
    try {
      Begin(*image, encoded);
      AfterEncoding(*image);
    } catch (const std::exception& error) {
      EndTurnIfDeviceFailed(error);
      scheduler_.Remove(index_, image, Failed("encoding", error, *image));
    }
  }
  try {
    runtime_->Mark()->Wait();  // a turn ends when its work is done
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    reports_.BatchFailed(error);
  }
  const absl::Duration took = clock_.Now() - before;
  scheduler_.RecordStage(Stage::kEncode, pipelines, shape.height, shape.width,
                         took / static_cast<int64_t>(images.size()));
  reports_.Encoded(took);
  reports_.Load();
}

// An image that another server has begun may have no evaluation left.
void Worker::AfterEncoding(ActiveImage& image) {
  if (!image.trajectory->done()) {
    image.rows = image.trajectory->rows();
    image.stage = Stage::kEvaluate;
  } else if (Decodes(image, index_)) {
    image.stage = Stage::kDecode;
    image.denoised = clock_.Now();
  } else {
    Finish({.image = &image, .sample = image.trajectory->x().to(at::kCPU)});
  }
}

// Empty where this fails: then each image encodes its own prompts.
EncodedConditions Worker::EncodeTogether(const Images& images) const {
  std::vector<SharedCondition> prompts;
  for (const ActiveImage* image : images) {
    const auto of_image = UnencodedConditions(image->generation->request().conditioning);
    prompts.insert(prompts.end(), of_image.begin(), of_image.end());
  }
  try {
    return EncodePrompts(prompts, PipelineOf(*images.front(), index_));
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    reports_.BatchFailed(error);
    return {};
  }
}

void Worker::RunEvaluate(const Batch& batch, const Images& images) {
  // Images may be gone after Resume.
  Pipelines pipelines = images.front()->generation->request().pipelines;
  const SampleShape shape = images.front()->generation->request().shape;
  BatchResult result = Evaluate(images);
  Resume(result.images, result.x0);
  Report(batch, std::move(pipelines), shape, std::move(result.calls));
}

void Worker::RunDecode(ActiveImage& image) {
  const absl::Time before = clock_.Now();
  try {
    if (!image.decoding) {
      image.decoding = TiledPass::Decode(PipelineOf(image, index_).codec,
                                         image.trajectory->x().unsqueeze(0), TileOptions());
    }
    image.decoding->Advance();
    runtime_->Mark()->Wait();  // a turn ends when its work is done
    image.decoding_duration += clock_.Now() - before;
    if (!image.decoding->done()) return reports_.Load();
    const GenerationRequest& request = image.generation->request();
    scheduler_.RecordStage(Stage::kDecode, request.pipelines, request.shape.height,
                           request.shape.width, image.decoding_duration);
    reports_.Decoded({.decoding = image.decoding_duration,
                      .waiting = clock_.Now() - image.denoised - image.decoding_duration});
    Picture picture{.image = &image, .sample = image.decoding->result()[0].to(at::kCPU)};
    if (IsFinite(picture.sample)) {
      Finish(std::move(picture));
    } else {
      scheduler_.Remove(index_, &image, DecodedNotFiniteError(image));
    }
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    image.decoding.reset();
    scheduler_.Remove(index_, &image, Failed("decoding", error, image));
  }
  reports_.Load();
}

// A task that fails ends alone: the worker carries on.
void Worker::Run(const Slice& slice) {
  ReleaseUnused();
  const absl::Time before = clock_.Now();
  const absl::StatusOr<DeviceTask::Outcome> outcome = RunSlice(*slice.task);
  reports_.SliceEnded(*slice.task, clock_.Now() - before);
  if (!outcome.ok()) {
    reports_.TaskFailed(outcome.status());
    slice.task->OnFailed(outcome.status());
  }
  scheduler_.EndSlice(index_, outcome.value_or(DeviceTask::Outcome::kDone));
}

// Kernels of an accelerator run behind the host; waiting for them counts their time as the slice's.
absl::StatusOr<DeviceTask::Outcome> Worker::RunSlice(DeviceTask& task) const {
  try {
    const DeviceTask::Outcome outcome = task.RunSlice();
    runtime_->Mark()->Wait();
    return outcome;
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    return DeviceError(error);
  } catch (...) {
    return absl::InternalError("a task threw something other than an exception");
  }
}

// A batch that runs out of memory is evaluated in halves, and later ones are smaller. When a batch
// fails otherwise, its images are evaluated one by one, so that whatever is wrong with one does not
// fail its neighbours; those that fail alone leave the batch. LibTorch's exceptions end here, in
// Resume and in Settle.
Worker::BatchResult Worker::Evaluate(const Images& images) {
  try {
    return EvaluateTogether(images);
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    reports_.BatchFailed(error);
    if (!IsOutOfMemory(error) || images.size() == 1) return EvaluateInParts(images, 1);
    const GenerationRequest& request = images.front()->generation->request();
    scheduler_.LimitRows(request.pipelines, request.shape.height, request.shape.width,
                         RowsOf(images));
    return EvaluateInParts(images, (images.size() + 1) / 2);
  }
}

Worker::BatchResult Worker::EvaluateTogether(const Images& images) {
  std::vector<Trajectory*> trajectories;
  int rows = 0;
  for (ActiveImage* image : images) {
    if (!image->trajectory) Begin(*image, {});
    trajectories.push_back(&*image->trajectory);
    rows += image->trajectory->rows();
  }
  const GenerationRequest& request = images.front()->generation->request();
  Evaluated evaluated = loops_->Evaluate(
      request.pipelines, request.shape.height * request.shape.width, rows, trajectories);
  return {.images = images,
          .x0 = {std::move(evaluated.x0)},
          .calls = {{.rows = rows,
                     .padded_rows = static_cast<int>(evaluated.padded_rows),
                     .began = std::move(evaluated.network_began),
                     .ended = std::move(evaluated.network_ended)}}};
}

// Evaluates `part_size` images at a time, the rest last.
Worker::BatchResult Worker::EvaluateInParts(const Images& images, size_t part_size) {
  BatchResult all;
  for (size_t begin = 0; begin < images.size(); begin += part_size) {
    const auto first = images.begin() + static_cast<ptrdiff_t>(begin);
    const auto size = static_cast<ptrdiff_t>(std::min(part_size, images.size() - begin));
    BatchResult part = part_size == 1 ? EvaluateAlone(*first) : Evaluate({first, first + size});
    for (ActiveImage* image : part.images) all.images.push_back(image);
    for (const at::Tensor& x0 : part.x0) {
      for (const at::Tensor& of_image : x0.split(1)) all.x0.push_back(of_image);
    }
    for (NetworkCall& call : part.calls) all.calls.push_back(std::move(call));
  }
  return all;
}

Worker::BatchResult Worker::EvaluateAlone(ActiveImage* image) {
  try {
    return EvaluateTogether({image});
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    scheduler_.Remove(index_, image, Failed("the network failed", error, *image));
    return {};
  }
}

// An accelerator takes the memory of a call when the call is queued: what has been queued has fit.
absl::Status Worker::Failed(std::string_view what, const std::exception& error,
                            const ActiveImage& image) const {
  if (!IsOutOfMemory(error)) {
    return absl::InternalError(absl::StrCat(std::string(what), ": ", DescribeError(error)));
  }
  const GenerationRequest& request = image.generation->request();
  const int64_t factor = PipelineOf(image, index_).codec->spec().factor;
  return ImageOutOfMemory(
      {.device = device_name_,
       .image_index = image.index,
       .height = request.shape.height * factor,
       .width = request.shape.width * factor,
       .size_multiple = SizeMultiple(PipelineOf(image, index_)),
       .rows = image.rows,
       .fitted_row_pixels = loops_->FittedRowPixels(request.pipelines) * factor * factor});
}

void Worker::ReleaseUnused() {
  Settle(0);
  loops_->ForgetGoneModels();
}

void Worker::Begin(ActiveImage& image, const EncodedConditions& encoded) {
  const GenerationRequest& request = image.generation->request();
  image.generation->Started(clock_.Now());
  const Pipeline& pipeline = PipelineOf(image, index_);
  image.trajectory.emplace(
      BeginTrajectory(request.plan, EncodeConditioning(request.conditioning, pipeline, encoded),
                      {.seed = image.generation->SeedOf(image.index),
                       .shape = request.shape,
                       .start = StartOf(request, image.index),
                       .inpainting = request.inpainting},
                      pipeline, *runtime_));
  if (const TrajectorySnapshot* const begun = SnapshotOf(request, image.index)) {
    image.trajectory->Continue(*begun, *runtime_);
  }
}

// Frames out, finished images out. A failure to take pictures ends every image of the batch.
void Worker::Resume(const Images& images, const std::vector<at::Tensor>& x0) {
  Pictures pictures;
  try {
    pictures = TakePictures(images, x0, index_);
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    for (ActiveImage* image : images) {
      scheduler_.Remove(index_, image, Failed("taking pictures", error, *image));
    }
    return;
  }
  const auto is_finite = [&](ActiveImage* image) { return !pictures.not_finite.contains(image); };
  for (ActiveImage* image : images) {
    image->generation->Evaluated(image->index, image->rows);
    if (!is_finite(image)) continue;
    const Trajectory& trajectory = *image->trajectory;
    if (EndsStep(*image)) {
      image->steps_sent = trajectory.steps_done();
      image->generation->Step(image->index, image->steps_sent);
    }
    image->evaluations_left =
        static_cast<int>(trajectory.plan().evaluations.size()) - trajectory.evaluations_done();
    if (!trajectory.done()) image->rows = trajectory.rows();
    if (trajectory.done() && Decodes(*image, index_)) {
      image->stage = Stage::kDecode;
      image->denoised = clock_.Now();
    }
  }
  for (Picture& frame : pictures.frames) {
    if (is_finite(frame.image)) SendFrame(std::move(frame));
  }
  for (Picture& picture : pictures.finished) {
    if (is_finite(picture.image)) Finish(std::move(picture));
  }
  for (ActiveImage* image : pictures.not_finite) {
    scheduler_.Remove(index_, image, NotFiniteError(*image));
  }
}

void Worker::SendFrame(Picture frame) {
  const Trajectory& trajectory = *frame.image->trajectory;
  const GenerationRequest& request = frame.image->generation->request();
  const int64_t factor = PipelineOf(*frame.image, index_).codec->spec().factor;
  frame.image->generation->Frame({.image_index = frame.image->index,
                                  .step = trajectory.steps_done(),
                                  .timestep = trajectory.last().timestep,
                                  .kind = frame.kind,
                                  .sample = std::move(frame.sample),
                                  .scale = request.frames.as_pictures ? factor : 1});
}

void Worker::Finish(Picture picture) {
  ActiveGeneration& generation = *picture.image->generation;
  generation.Image({.image_index = picture.image->index,
                    .seed = generation.SeedOf(picture.image->index),
                    .sample = std::move(picture.sample)});
  scheduler_.Remove(index_, picture.image, absl::OkStatus());
}

void Worker::Report(const Batch& batch, Pipelines pipelines, const SampleShape& shape,
                    std::vector<NetworkCall> calls) {
  reports_.Load();
  pending_.push_back({.pipelines = std::move(pipelines),
                      .height = shape.height,
                      .width = shape.width,
                      .calls = std::move(calls),
                      .report = {.trajectories = static_cast<int>(batch.items.size()),
                                 .rows = batch.rows,
                                 .rows_saved = batch.rows_saved,
                                 .total = clock_.Now() - batch.ready}});
  Settle(1);
}

void Worker::Settle(size_t allowed) {
  try {
    while (!pending_.empty()) {
      const std::vector<NetworkCall>& calls = pending_.front().calls;
      if (!calls.empty() && pending_.size() > allowed) calls.back().ended->Wait();
      if (!calls.empty() && !calls.back().ended->reached()) return;
      ReportOldest();
    }
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    pending_.clear();
    reports_.BatchFailed(error);
  }
}

void Worker::ReportOldest() {
  Pending pending = std::move(pending_.front());
  pending_.pop_front();
  for (const NetworkCall& call : pending.calls) {
    const absl::Duration duration = call.ended->Since(*call.began);
    scheduler_.RecordEvaluation(pending.pipelines, pending.height, pending.width, call.rows,
                                duration);
    pending.report.network += duration;
    pending.report.rows_padded += call.padded_rows;
  }
  // Where every image has failed, nothing was evaluated.
  if (!pending.calls.empty()) reports_.Evaluated(pending.report);
}

}  // namespace denoise
