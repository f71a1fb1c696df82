// Microseconds that the update around a network call takes, for images of the starter model's
// shape.
//
//   row_batch_bench [threads]
#include <ATen/Parallel.h>
#include <ATen/ops/randn_like.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cstdio>
#include <vector>

#include "core/diffusion/row_batch.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/support/bench_arguments.h"
#include "tests/support/bench_report.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

constexpr int kSteps = 200;

using Microseconds = std::chrono::duration<double, std::micro>;

void Measure(const char* name, const SamplerOptions& options, int images) {
  const Schedule schedule = *Schedule::Create({});
  const GaussianNetwork network(schedule, {}, 3, 32, 32);
  const auto plan = std::make_shared<const SamplerPlan>(*CompilePlan(schedule, options));
  std::vector<Trajectory> trajectories;
  const auto runtime = MakeDeviceRuntime(at::kCPU);
  for (int i = 0; i < images; ++i) {
    trajectories.emplace_back(plan, Conditioning{}, i, network.spec().sample, *runtime);
  }
  std::vector<double> gather, update;
  while (!trajectories.front().done()) {
    std::vector<Trajectory*> running;
    for (Trajectory& trajectory : trajectories) running.push_back(&trajectory);
    const auto start = std::chrono::steady_clock::now();
    RowBatch batch(std::move(running), network, *runtime);
    const auto gathered = std::chrono::steady_clock::now();
    const at::Tensor output = network.Forward(batch.input());
    const auto evaluated = std::chrono::steady_clock::now();
    batch.Update(output);
    const auto updated = std::chrono::steady_clock::now();
    gather.push_back(Microseconds(gathered - start).count());
    update.push_back(Microseconds(updated - evaluated).count());
  }
  std::printf("%10s %7d %12.1f %12.1f\n", name, images, Median(gather), Median(update));
}

void Run() {
  const c10::InferenceMode inference;
  std::printf("%10s %7s %12s %12s\n", "sampler", "images", "gather us", "update us");
  for (const int images : {1, 4, 16}) {
    Measure("ddim", {.sampler = SamplerKind::kDdim, .steps = kSteps}, images);
    Measure("ddpm", {.sampler = SamplerKind::kDdpm, .steps = kSteps}, images);
    Measure("unipc_3", {.sampler = SamplerKind::kUniPc, .steps = kSteps, .solver_order = 3},
            images);
  }
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const denoise::BenchArguments arguments(argc, argv, "row_batch_bench [THREADS]", /*most=*/1);
  at::set_num_threads(arguments.Number(1, "THREADS", 2));
  denoise::Run();
}
