// What callers ask of the engine, and how it answers. No gRPC, no proto.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/diffusion/trajectory.h"
#include "core/nn/network.h"
#include "core/pipeline/pipeline.h"
#include "core/sampling/samplers/plan.h"
#include "server/scheduling/work.h"

namespace denoise {

enum class FrameKind { kXt, kX0 };

struct FrameOptions {
  int every_n_steps = 0;    // 0: no frames. They follow every n-th step and the last
  bool skip_last = false;   // not the last, then
  bool as_pictures = true;  // latents are shown as small pictures; otherwise x as it is
  std::vector<FrameKind> kinds = {FrameKind::kX0};  // a frame of each, in this order
};

// Where an image that has begun stands. An image that has finished its evaluations and waits for
// decoding counts as begun.
struct ImageSnapshot {
  int image_index;
  TrajectorySnapshot trajectory;
};

// What has been done of a generation's images. Those that neither list names have not begun.
struct Continuation {
  std::vector<int> images_done;
  std::vector<ImageSnapshot> images_begun;
};

// The caller has validated it: the plan suits the network and has an evaluation, labels exist,
// guidance has a null class, count is at least 1 (2 for a start between two noises), no evaluation
// of an image takes more rows than Engine::Options::max_batch_rows, and the tensors of the start
// and the inpainting have the shape of x.
struct GenerationRequest {
  std::shared_ptr<const PipelineReplicas> pipelines;  // may alias an owner that must stay alive
  std::string model;                                  // "models/emoji-32", for messages
  std::string name;                                   // "generations/17", for those who look
  SampleShape shape;                                  // of x
  int row_size = 1;  // how many images of the model's own size one of `shape` is like, rounded up
  std::shared_ptr<const SamplerPlan> plan;
  Conditioning conditioning;
  uint64_t seed = 0;  // image i uses seed + i
  int count = 1;
  FrameOptions frames;
  Start start = NoiseStart();  // with `to`, image i of n goes i / (n - 1) of the way
  std::optional<Inpainting> inpainting;
  bool decode = true;  // images are pictures; otherwise x as the run leaves it
  absl::Time deadline = absl::InfiniteFuture();
  Priority priority = Priority::kNormal;
  std::string tenant;  // tenants share the devices fairly; see server/scheduling/fair_share.h
  // The work of another server: images that are done are not made again, and those that have begun
  // continue (Trajectory::Continue). Each index occurs once, and CheckSnapshot holds of each
  // snapshot.
  Continuation continues_from;
};

// Whether it brings pictures along, which go through the codec.
inline bool BringsPictures(const GenerationRequest& request) {
  return std::holds_alternative<PictureStart>(request.start) || request.inpainting.has_value();
}

struct FrameUpdate {
  int image_index;
  int step;         // 1 .. steps
  double timestep;  // what the network was told
  FrameKind kind;
  // [C, H, W] float32 on the CPU; x_t is scaled to unit variance where the sampler works in sigma.
  at::Tensor sample;
  int64_t scale = 1;  // pixels of the image for one of `sample`, along each side
};

struct ImageUpdate {
  int image_index;
  uint64_t seed;
  at::Tensor sample;  // [C, H, W] float32 on the CPU, not clamped
};

// What a generation ends with that Engine::Pause has handed over: ABORTED, for the reason
// GENERATION_PAUSED.
absl::Status PausedError();

// Receives the events of one generation. Calls come one at a time, from the submitting thread
// (OnQueued only) and from the engine's threads. None may block or call back into the engine.
// OnHandover comes at most once, only after AcceptsHandover() was true, and is followed by OnFinished
// with UNAVAILABLE or PausedError() and nothing else. OnFinished comes last and exactly once, unless
// Submit failed: then nothing is called. If its status is not OK, images may be missing.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  virtual void OnQueued(const QueuePlace& place) = 0;
  virtual void OnStarted(absl::Duration queue_wait) = 0;
  // An image was evaluated, with so many rows.
  virtual void OnEvaluated(int /*image_index*/, int /*rows*/) {}
  virtual void OnStep(int image_index, int step) = 0;
  virtual void OnFrame(FrameUpdate frame) = 0;
  virtual void OnImage(ImageUpdate image) = 0;
  // Whether somebody would continue the generation. An engine that drains asks once, and then hands
  // the generation over at once instead of letting it finish. So does one whose last device has
  // failed, and so does Engine::Pause.
  virtual bool AcceptsHandover() { return false; }
  // The images that have begun and are not done. Images that are not finite are left out.
  virtual void OnHandover(std::vector<ImageSnapshot> /*images_begun*/) {}
  virtual void OnFinished(const absl::Status& status) = 0;
};

}  // namespace denoise
