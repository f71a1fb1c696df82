#include "core/diffusion/sample.h"

#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>

#include <limits>
#include <utility>

#include "core/base/check.h"

namespace denoise {

SampleRun::SampleRun(const Network& network, std::shared_ptr<DeviceRuntime> runtime,
                     std::shared_ptr<const SamplerPlan> plan, int64_t count, int64_t max_rows,
                     std::function<SampleRequest(int64_t)> request)
    : network_(network),
      runtime_(std::move(runtime)),
      plan_(std::move(plan)),
      count_(count),
      max_rows_(max_rows),
      request_(std::move(request)),
      loop_(network, runtime_) {}

at::Tensor SampleRun::Advance() {
  DENOISE_DCHECK(!done());
  const c10::InferenceMode inference;
  if (group_.empty()) BeginGroup();
  std::vector<Trajectory*> trajectories;
  for (Trajectory& trajectory : group_) trajectories.push_back(&trajectory);
  loop_.Evaluate(trajectories);
  if (!group_.front().done()) return {};
  std::vector<at::Tensor> images;
  for (const Trajectory& trajectory : group_) images.push_back(trajectory.x());
  finished_ += static_cast<int64_t>(group_.size());
  group_.clear();
  return at::stack(images);
}

void SampleRun::BeginGroup() {
  int64_t rows = 0;
  for (int64_t i = finished_; i < count_; ++i) {
    SampleRequest request = request_(i);
    rows += MaxRows(request.conditioning, *plan_);
    if (rows > max_rows_ && !group_.empty()) return;
    group_.emplace_back(plan_, std::move(request.conditioning), request.seed,
                        request.shape.value_or(network_.spec().sample), *runtime_, request.start,
                        std::move(request.inpainting));
  }
}

at::Tensor Sample(const Network& network, std::shared_ptr<const SamplerPlan> plan,
                  const std::vector<SampleRequest>& requests) {
  SampleRun run(network, MakeDeviceRuntime(network.device()), std::move(plan),
                static_cast<int64_t>(requests.size()), std::numeric_limits<int64_t>::max(),
                [&](int64_t i) { return requests[i]; });
  at::Tensor images;
  while (!run.done()) images = run.Advance();
  return images;
}

}  // namespace denoise
