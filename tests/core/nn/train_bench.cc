// CPU milliseconds that a training slice of the starter model spends on its network: binding it to
// parameters, and the forward and backward pass.
//
//   train_bench [threads] [rows] [checkpoint folder]
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "tests/core/nn/test_checkpoints.h"
#include "tests/support/bench_arguments.h"

namespace denoise {
namespace {

constexpr int kRounds = 7;

// Of the processor, all threads together: other programs do not count.
template <typename Function>
double Milliseconds(const Function& f) {
  const std::clock_t start = std::clock();
  f();
  return 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void Run(const char* folder, int64_t rows, bool batch_invariant) {
  const UNetFolder unet = ReadUNetFolder(folder);
  const UNet2DConfig config = ParseUNet2DConfig(unet.config_json).value();
  StateDict parameters;
  for (const auto& [name, tensor] : unet.weights) {
    parameters[name] = tensor.to(at::kFloat).clone().requires_grad_();
  }
  const NetworkInput input = RandomInput(*LoadNetwork(unet), rows, 1);
  // The fastest of several runs: what disturbs a run only ever makes it slower.
  double bind_ms = 1e30, forward_ms = 1e30, backward_ms = 1e30;
  for (int i = 0; i < kRounds; ++i) {
    std::shared_ptr<const Network> network;
    at::Tensor loss;
    bind_ms = std::min(bind_ms, Milliseconds([&] {
                         network = BindUNet2D(config, parameters, at::kFloat,
                                              {.batch_invariant = batch_invariant});
                       }));
    forward_ms =
        std::min(forward_ms, Milliseconds([&] { loss = network->Forward(input).square().mean(); }));
    backward_ms = std::min(backward_ms, Milliseconds([&] { loss.backward(); }));
  }
  std::printf("batch_invariant %d: bind %.2f, forward %.1f, backward %.1f\n", batch_invariant,
              bind_ms, forward_ms, backward_ms);
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const denoise::BenchArguments arguments(argc, argv, "train_bench [THREADS] [ROWS] [MODEL]",
                                          /*most=*/3);
  const int threads = arguments.Number(1, "THREADS", 1);
  const int64_t rows = arguments.Number(2, "ROWS", 8);
  const char* const folder = arguments.Folder(3, "deploy/models/emoji-32");
  at::set_num_threads(threads);
  for (const bool batch_invariant : {true, false}) denoise::Run(folder, rows, batch_invariant);
}
