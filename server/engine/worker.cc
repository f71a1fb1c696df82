#include "server/engine/worker.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
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

// Evaluations that take less are made without a look at the memory.
constexpr int64_t kLookFromBytes = int64_t{64} << 20;

// The turn's device has failed for good. No std::exception, so that it passes every handler of those.
struct DeviceFailure {
  std::string what;
};

// Whether the last evaluation has ended a step that is to be sent.
bool EndsStep(const ActiveImage& image) {
  return image.trajectory->last().ends_step && image.trajectory->steps_done() > image.steps_sent;
}

bool WantsFrame(const FrameOptions& frames, const ActiveImage& image) {
  const Trajectory& trajectory = *image.trajectory;
  if (frames.every_n_steps == 0 || !EndsStep(image)) return false;
  if (trajectory.done()) return !frames.skip_last;
  return trajectory.steps_done() % frames.every_n_steps == 0;
}

// The part of `x0`, as in BatchResult, that belongs to image i.
at::Tensor PredictionOf(size_t i, const std::vector<at::Tensor>& x0) {
  return x0.size() == 1 ? x0.front()[static_cast<int64_t>(i)] : x0[i][0];
}

// The images that take part in a turn; the engine submits generations only.
std::vector<ActiveImage*> ImagesOf(const Batch& batch) {
  std::vector<ActiveImage*> images;
  for (WorkItem* item : batch.items) images.push_back(static_cast<ActiveImage*>(item));
  return images;
}

TurnReport::Kind KindOf(Stage stage) {
  switch (stage) {
    case Stage::kEncode:
      return TurnReport::Kind::kEncode;
    case Stage::kEvaluate:
      return TurnReport::Kind::kEvaluate;
    case Stage::kDecode:
      break;
  }
  return TurnReport::Kind::kDecode;
}

// Between two noises the images of a request are spread evenly.
Start StartOf(const GenerationRequest& request, int index) {
  Start start = request.start;
  if (auto* noise = std::get_if<NoiseStart>(&start); noise != nullptr && noise->to) {
    noise->fraction = static_cast<double>(index) / (request.count - 1);
  }
  return start;
}

// `x` as its frame shows it.
at::Tensor Shown(const at::Tensor& x, const FrameOptions& frames, const Pipeline& pipeline) {
  if (!frames.as_pictures || pipeline.preview == nullptr) return x;
  return pipeline.preview->Apply(x.unsqueeze(0))[0];
}

// Gathered on the device and brought to the host at once, then a tensor of its own each: a reader
// who is slow to take one must not keep the others in memory.
std::vector<at::Tensor> ToHost(const std::vector<at::Tensor>& samples) {
  std::vector<at::Tensor> flat, host;
  for (const at::Tensor& sample : samples) flat.push_back(sample.flatten());
  const at::Tensor together = at::cat(flat).to(at::kCPU);
  int64_t begin = 0;
  for (const at::Tensor& sample : samples) {
    host.push_back(together.narrow(0, begin, sample.numel()).clone().view(sample.sizes()));
    begin += sample.numel();
  }
  return host;
}

bool IsFinite(const at::Tensor& tensor) { return at::isfinite(tensor).all().item<bool>(); }

// What may help where values are not finite.
const char* Advice(const ActiveImage& image) {
  const auto& conditions = image.generation->request().conditioning.conditions;
  return conditions.empty() || conditions.front().condition->adapters.empty()
             ? "try another sampler, or less guidance"
             : "try smaller scales of the adapters, another sampler, or less guidance";
}

int RowsOf(const std::vector<ActiveImage*>& images) {
  int rows = 0;
  for (const ActiveImage* image : images) rows += image->rows;
  return rows;
}

// What an image fails with whose last evaluation predicted something that is not finite.
absl::Status NotFinite(const ActiveImage& image) {
  const GenerationRequest& request = image.generation->request();
  const Trajectory& trajectory = *image.trajectory;
  const int step = trajectory.steps_done() + (trajectory.last().ends_step ? 0 : 1);
  return WithErrorReason(absl::InternalError(absl::StrCat(
                             request.model, " predicted values that are not finite for image ",
                             image.index, " at step ", step, " of ", request.plan->NumSteps(),
                             ", timestep ", trajectory.last().timestep, "; ", Advice(image))),
                         "OUTPUT_NOT_FINITE");
}

absl::Status DecodedNotFinite(const ActiveImage& image) {
  return WithErrorReason(absl::InternalError(absl::StrCat(
                             image.generation->request().model, " decoded image ", image.index,
                             " to values that are not finite; ", Advice(image))),
                         "OUTPUT_NOT_FINITE");
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
      observer_(observer),
      thread_([this] { Loop(); }) {}

Worker::~Worker() { thread_.join(); }

void Worker::Loop() {
  // For ps and top; Linux takes 15 characters.
  pthread_setname_np(pthread_self(), absl::StrCat("device ", device_name_).substr(0, 15).c_str());
  at::set_num_threads(options_.cpu_threads);
  runtime_ = MakeDeviceRuntime(device_);
  AddMemory();
  while (const auto turn = scheduler_.NextTurn(index_)) {
    RunTurn(*turn);
    if (device_failed_) {
      ReportTurn({.kind = TurnReport::Kind::kFailed});
    } else if (!scheduler_.HasTurn(index_)) {
      ReportTurn({.kind = TurnReport::Kind::kIdle});
    }
  }
  loops_.clear();
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
    ReportTurn(batch_or_slice);
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
  loops_.clear();
  scheduler_.FailWorker(index_);
  ReportLoad();
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
    return ReportLoad();
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
    if (observer_ != nullptr) observer_->OnBatchFailed(device_name_, DescribeError(error));
  }
  const absl::Duration took = clock_.Now() - before;
  scheduler_.RecordStage(Stage::kEncode, pipelines, shape.height, shape.width,
                         took / static_cast<int64_t>(images.size()));
  if (observer_ != nullptr) observer_->OnEncode(device_name_, took);
  ReportLoad();
}

// An image that another server has begun may have no evaluation left.
void Worker::AfterEncoding(ActiveImage& image) {
  if (!image.trajectory->done()) {
    image.rows = image.trajectory->rows();
    image.stage = Stage::kEvaluate;
  } else if (Decodes(image)) {
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
    return EncodePrompts(prompts, PipelineOf(*images.front()));
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    if (observer_ != nullptr) observer_->OnBatchFailed(device_name_, DescribeError(error));
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
      image.decoding = TiledPass::Decode(PipelineOf(image).codec,
                                         image.trajectory->x().unsqueeze(0), TileOptions());
    }
    image.decoding->Advance();
    runtime_->Mark()->Wait();  // a turn ends when its work is done
    image.decoding_duration += clock_.Now() - before;
    if (!image.decoding->done()) return ReportLoad();
    const GenerationRequest& request = image.generation->request();
    scheduler_.RecordStage(Stage::kDecode, request.pipelines, request.shape.height,
                           request.shape.width, image.decoding_duration);
    if (observer_ != nullptr) {
      observer_->OnDecode(device_name_,
                          {.decoding = image.decoding_duration,
                           .waiting = clock_.Now() - image.denoised - image.decoding_duration});
    }
    Picture picture{.image = &image, .sample = image.decoding->result()[0].to(at::kCPU)};
    if (IsFinite(picture.sample)) {
      Finish(std::move(picture));
    } else {
      scheduler_.Remove(index_, &image, DecodedNotFinite(image));
    }
  } catch (const std::exception& error) {
    EndTurnIfDeviceFailed(error);
    image.decoding.reset();
    scheduler_.Remove(index_, &image, Failed("decoding", error, image));
  }
  ReportLoad();
}

// A task that fails ends alone: the worker carries on.
void Worker::Run(const Slice& slice) {
  ReleaseUnused();
  const absl::Time before = clock_.Now();
  const absl::StatusOr<DeviceTask::Outcome> outcome = RunSlice(*slice.task);
  if (observer_ != nullptr) {
    if (slice.task->kind() == DeviceTask::Kind::kTraining) {
      observer_->OnSlice(device_name_, clock_.Now() - before);
    }
    if (!outcome.ok()) {
      observer_->OnTaskFailed(device_name_, std::string(outcome.status().message()));
    }
  }
  if (!outcome.ok()) slice.task->OnFailed(outcome.status());
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
    if (observer_ != nullptr) observer_->OnBatchFailed(device_name_, DescribeError(error));
    if (!IsOutOfMemory(error) || images.size() == 1) return EvaluateInParts(images, 1);
    const GenerationRequest& request = images.front()->generation->request();
    scheduler_.LimitRows(request.pipelines, request.shape.height, request.shape.width,
                         RowsOf(images));
    return EvaluateInParts(images, (images.size() + 1) / 2);
  }
}

Worker::BatchResult Worker::EvaluateTogether(const Images& images) {
  std::vector<Trajectory*> trajectories;
  int64_t rows = 0;
  for (ActiveImage* image : images) {
    if (!image->trajectory) Begin(*image, {});
    trajectories.push_back(&*image->trajectory);
    rows += image->trajectory->rows();
  }
  const GenerationRequest& request = images.front()->generation->request();
  Evaluated evaluated = EvaluateWithinMemory(
      trajectories, rows * request.shape.height * request.shape.width, request.pipelines);
  return {.images = images,
          .x0 = {std::move(evaluated.x0)},
          .calls = {{.rows = static_cast<int>(rows),
                     .padded_rows = static_cast<int>(evaluated.padded_rows),
                     .began = std::move(evaluated.network_began),
                     .ended = std::move(evaluated.network_ended)}}};
}

// What is larger than anything before is measured.
Evaluated Worker::EvaluateWithinMemory(const std::vector<Trajectory*>& trajectories,
                                       int64_t row_pixels, const Pipelines& pipelines) {
  CachedLoop& cached = LoopFor(pipelines);
  const bool is_largest = row_pixels > cached.fitted_row_pixels;
  if (is_largest || device_.is_cpu()) CheckMemory(row_pixels, pipelines);
  if (!is_largest) return cached.loop.Evaluate(trajectories);
  Evaluated evaluated;
  const std::optional<int64_t> peak =
      runtime_->PeakMemory([&] { evaluated = cached.loop.Evaluate(trajectories); });
  if (peak) memory_.Record(pipelines, row_pixels, *peak);
  cached.fitted_row_pixels = row_pixels;
  return evaluated;
}

// An accelerator's allocator says itself when memory runs out, and has kept what has fit before. A
// host's lets the kernel end the process.
void Worker::CheckMemory(int64_t row_pixels, const Pipelines& pipelines) const {
  const std::optional<int64_t> bytes = memory_.BytesFor(pipelines, row_pixels);
  if (!bytes || *bytes < kLookFromBytes) return;
  const std::optional<DeviceMemory> memory = runtime_->Memory();
  TORCH_CHECK_WITH(OutOfMemoryError, !memory || *bytes <= memory->free_bytes,
                   "an evaluation takes ", *bytes, " bytes, and ", memory->free_bytes, " are free");
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
  const int64_t factor = PipelineOf(image).codec->spec().factor;
  const auto loop = loops_.find(request.pipelines.get());
  return ImageOutOfMemory(
      {.device = device_name_,
       .image_index = image.index,
       .height = request.shape.height * factor,
       .width = request.shape.width * factor,
       .size_multiple = SizeMultiple(PipelineOf(image)),
       .rows = image.rows,
       .fitted_row_pixels =
           loop == loops_.end() ? 0 : loop->second.fitted_row_pixels * factor * factor});
}

Worker::CachedLoop& Worker::LoopFor(const Pipelines& pipelines) {
  ForgetGoneModels();
  const auto found = loops_.find(pipelines.get());
  if (found != loops_.end()) return found->second;
  const auto report = [this](const std::exception& error) {
    if (observer_ != nullptr) observer_->OnCaptureFailed(device_name_, DescribeError(error));
  };
  return loops_
      .emplace(pipelines.get(),
               CachedLoop{.pipelines = pipelines,
                          .loop = DenoisingLoop(*(*pipelines)[index_]->network, runtime_, report)})
      .first->second;
}

void Worker::ForgetGoneModels() {
  std::erase_if(loops_, [](const auto& item) { return item.second.pipelines.expired(); });
}

void Worker::ReleaseUnused() {
  Settle(0);
  ForgetGoneModels();
}

const Pipeline& Worker::PipelineOf(const ActiveImage& image) const {
  return *(*image.generation->request().pipelines)[index_];
}

bool Worker::Decodes(const ActiveImage& image) const {
  return image.generation->request().decode && !PipelineOf(image).codec->spec().is_identity;
}

void Worker::Begin(ActiveImage& image, const EncodedConditions& encoded) {
  const GenerationRequest& request = image.generation->request();
  image.generation->Started(clock_.Now());
  const Pipeline& pipeline = PipelineOf(image);
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
    pictures = TakePictures(images, x0);
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
    if (trajectory.done() && Decodes(*image)) {
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
    scheduler_.Remove(index_, image, NotFinite(*image));
  }
}

Worker::Pictures Worker::TakePictures(const Images& images,
                                      const std::vector<at::Tensor>& x0) const {
  Pictures pictures;
  std::vector<at::Tensor> samples;
  for (size_t i = 0; i < images.size(); ++i) {
    const Trajectory& trajectory = *images[i]->trajectory;
    const FrameOptions& wanted = images[i]->generation->request().frames;
    if (!WantsFrame(wanted, *images[i])) continue;
    for (const FrameKind kind : wanted.kinds) {
      pictures.frames.push_back({.image = images[i], .kind = kind, .sample = {}});
      const at::Tensor x = kind == FrameKind::kX0 ? PredictionOf(i, x0) : trajectory.PictureOfX();
      samples.push_back(Shown(x, wanted, PipelineOf(*images[i])));
    }
  }
  for (ActiveImage* image : images) {
    if (!image->trajectory->done() || Decodes(*image)) continue;
    pictures.finished.push_back({.image = image, .sample = {}});
    samples.push_back(image->trajectory->x());
  }
  // Elsewhere the host would have to wait for the device at every evaluation. There, what goes to
  // the host anyway is looked at.
  for (size_t i = 0; i < images.size() && device_.is_cpu(); ++i) {
    if (!IsFinite(PredictionOf(i, x0))) pictures.not_finite.insert(images[i]);
  }
  if (samples.empty()) return pictures;
  const std::vector<at::Tensor> host = ToHost(samples);
  size_t next = 0;
  for (std::vector<Picture>* const list : {&pictures.frames, &pictures.finished}) {
    for (Picture& picture : *list) {
      picture.sample = host[next++];
      if (!IsFinite(picture.sample)) pictures.not_finite.insert(picture.image);
    }
  }
  return pictures;
}

void Worker::SendFrame(Picture frame) {
  const Trajectory& trajectory = *frame.image->trajectory;
  const GenerationRequest& request = frame.image->generation->request();
  const int64_t factor = PipelineOf(*frame.image).codec->spec().factor;
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

void Worker::ReportTurn(const Batch& batch) {
  if (observer_ == nullptr || batch.items.empty()) return;
  TurnReport turn{.kind = KindOf(batch.stage)};
  for (const ActiveImage* image : ImagesOf(batch)) {
    turn.images.push_back(Describe(*image, batch.stage));
  }
  ReportTurn(std::move(turn));
}

void Worker::ReportTurn(const Slice& slice) {
  if (observer_ == nullptr) return;
  const bool measures = slice.task->kind() == DeviceTask::Kind::kMeasurement;
  ReportTurn({.kind = measures ? TurnReport::Kind::kMeasure : TurnReport::Kind::kTrain,
              .task = slice.task->name()});
}

void Worker::ReportTurn(TurnReport turn) {
  if (observer_ == nullptr) return;
  turn.began = clock_.Now();
  turn.active_rows = scheduler_.ActiveRows(index_);
  observer_->OnTurn(device_name_, turn);
}

ImageInTurn Worker::Describe(const ActiveImage& image, Stage stage) const {
  const GenerationRequest& request = image.generation->request();
  const int64_t factor = PipelineOf(image).codec->spec().factor;
  ImageInTurn described{.request = &request,
                        .index = image.index,
                        .height = request.shape.height * factor,
                        .width = request.shape.width * factor,
                        .rows = image.rows};
  if (image.trajectory) {
    described.evaluations_done = image.trajectory->evaluations_done();
    described.steps_done = image.trajectory->steps_done();
  }
  if (stage == Stage::kEvaluate) {
    described.timestep = request.plan->evaluations[described.evaluations_done].timestep;
  }
  return described;
}

void Worker::ReportLoad() {
  if (observer_ == nullptr) return;
  observer_->OnQueueDepth(scheduler_.QueueDepth());
  observer_->OnOutstandingCost(scheduler_.OutstandingCost());
  observer_->OnActiveRows(device_name_, scheduler_.ActiveRows(index_));
  observer_->OnDecodeQueue(device_name_, scheduler_.ItemsAt(index_, Stage::kDecode));
}

void Worker::Report(const Batch& batch, Pipelines pipelines, const SampleShape& shape,
                    std::vector<NetworkCall> calls) {
  ReportLoad();
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
    if (observer_ != nullptr) observer_->OnBatchFailed(device_name_, DescribeError(error));
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
  if (observer_ != nullptr && !pending.calls.empty())
    observer_->OnEvaluation(device_name_, pending.report);
}

}  // namespace denoise
