#include "tests/bench/network_loop.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/io/checkpoint.h"

namespace denoise {

absl::StatusOr<double> MeasureNetworkLoop(const NetworkLoopOptions& options) {
  at::set_num_threads(options.threads);
  const c10::InferenceMode inference;
  ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                   LoadCheckpoint(options.checkpoint,
                                  UNet2DOptions{.batch_invariant = options.batch_invariant}));
  const NetworkSpec& spec = checkpoint.network->spec();
  NetworkInput input;
  input.x = at::randn({options.rows, spec.sample.channels, spec.sample.height, spec.sample.width});
  input.timesteps = at::full({options.rows}, 500.0, at::kFloat);
  if (spec.num_class_embeds > 0)
    input.conditions.class_labels = at::zeros({options.rows}, at::kLong);

  checkpoint.network->Forward(input);  // chooses kernels, takes memory
  const absl::Time start = absl::Now();
  for (int i = 0; i < options.evaluations; ++i) checkpoint.network->Forward(input);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return options.rows * options.evaluations / seconds;
}

}  // namespace denoise
