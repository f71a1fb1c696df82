// Milliseconds per network evaluation of the starter model, with batch-invariant kernels and with
// LibTorch's own choice, interleaved in one run so that both see the same machine.
//
//   forward_bench [threads] [checkpoint folder] [float32 | bfloat16] [rounds]
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/core/nn/test_checkpoints.h"
#include "tests/support/bench_arguments.h"

namespace denoise {
namespace {

double MillisecondsOf(const Network& network, const NetworkInput& input) {
  const auto start = std::chrono::steady_clock::now();
  network.Forward(input);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// The fastest of several runs: what disturbs a run only ever makes it slower.
void Compare(const Network& invariant, const Network& plain, int64_t batch, int rounds) {
  const NetworkInput input = RandomInput(plain, batch, 1);
  double invariant_ms = 1e30, plain_ms = 1e30;
  for (int i = 0; i < rounds; ++i) {
    invariant_ms = std::min(invariant_ms, MillisecondsOf(invariant, input));
    plain_ms = std::min(plain_ms, MillisecondsOf(plain, input));
  }
  const double rows = static_cast<double>(batch);
  std::printf("%5ld %15.2f %11.2f %12.3f %18.2f %14.2f\n", static_cast<long>(batch), invariant_ms,
              plain_ms, invariant_ms / plain_ms, invariant_ms / rows, plain_ms / rows);
}

void Run(const char* folder, at::ScalarType dtype, int rounds) {
  const c10::InferenceMode inference;
  const UNetFolder unet = ReadUNetFolder(folder);
  const auto invariant = LoadNetwork(unet, {.batch_invariant = true})->To(at::kCPU, dtype);
  const auto plain = LoadNetwork(unet, {.batch_invariant = false})->To(at::kCPU, dtype);
  std::printf(
      "%d threads, %s, milliseconds\nbatch batch_invariant       plain        ratio %18s %14s\n",
      at::get_num_threads(), dtype == at::kFloat ? "float32" : "bfloat16", "invariant per row",
      "plain per row");
  for (int64_t batch : {1, 2, 4, 8, 16}) Compare(*invariant, *plain, batch, rounds);
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const denoise::BenchArguments arguments(
      argc, argv, "forward_bench [THREADS] [MODEL] [float32|bfloat16] [ROUNDS]", /*most=*/4);
  const int threads = arguments.Number(1, "THREADS", 2);
  const char* const folder = arguments.Folder(2, "deploy/models/emoji-32");
  const bool half = arguments.Choice(3, "precision", {"float32", "bfloat16"}) == "bfloat16";
  const int rounds = arguments.Number(4, "ROUNDS", 15);
  at::set_num_threads(threads);
  denoise::Run(folder, half ? at::kBFloat16 : at::kFloat, rounds);
}
