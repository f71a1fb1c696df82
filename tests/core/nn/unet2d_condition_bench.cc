// Seconds per network evaluation of a network of the size of Stable Diffusion 1.5, with random
// weights.
//
//   unet2d_condition_bench [threads] [side of the latents] [batch] [rounds]
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/core/nn/condition_checkpoints.h"
#include "tests/support/bench_arguments.h"

namespace denoise {
namespace {

constexpr char kConfig[] = R"({
  "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
  "attention_head_dim": 8, "cross_attention_dim": 768})";
constexpr int64_t kTokens = 77;

double SecondsOf(const Network& network, const NetworkInput& input) {
  const auto start = std::chrono::steady_clock::now();
  network.Forward(input);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The fastest of several runs: what disturbs a run only ever makes it slower.
void Run(int64_t side, int64_t batch, int rounds) {
  const c10::InferenceMode inference;
  const auto network = RandomConditionNetwork(kConfig);
  const NetworkInput input = RandomConditionInput(
      network->spec(), {side, side, std::vector<int64_t>(static_cast<size_t>(batch), kTokens)}, 1);
  double seconds = SecondsOf(*network, input);
  for (int i = 1; i < rounds; ++i) seconds = std::min(seconds, SecondsOf(*network, input));
  std::printf("%d threads, %ld x %ld latents, batch %ld: %.2f s, %.2f s per row\n",
              at::get_num_threads(), static_cast<long>(side), static_cast<long>(side),
              static_cast<long>(batch), seconds, seconds / static_cast<double>(batch));
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const denoise::BenchArguments arguments(
      argc, argv, "unet2d_condition_bench [THREADS] [SIDE] [BATCH] [ROUNDS]", /*most=*/4);
  const int threads = arguments.Number(1, "THREADS", 2);
  const int side = arguments.Number(2, "SIDE", 32, /*max=*/512);
  const int batch = arguments.Number(3, "BATCH", 1, /*max=*/256);
  const int rounds = arguments.Number(4, "ROUNDS", 3);
  at::set_num_threads(threads);
  denoise::Run(side, batch, rounds);
}
