#include "core/diffusion/sample.h"

#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>

#include "core/diffusion/row_batch.h"

namespace denoise {

at::Tensor Sample(const Network& network, std::shared_ptr<const SamplerPlan> plan,
                  const std::vector<SampleRequest>& requests) {
  const c10::InferenceMode inference;
  std::vector<Trajectory> trajectories;
  trajectories.reserve(requests.size());
  std::vector<Trajectory*> rows;
  for (const SampleRequest& request : requests) {
    rows.push_back(&trajectories.emplace_back(plan, request.conditioning, request.seed, network,
                                              request.start, request.inpainting));
  }
  for (size_t e = 0; e < plan->evaluations.size(); ++e) {
    RowBatch batch(rows, network);
    batch.Update(network.Forward(batch.input()));
  }
  std::vector<at::Tensor> images;
  for (const Trajectory& trajectory : trajectories) images.push_back(trajectory.x());
  return at::stack(images);
}

}  // namespace denoise
