// Seconds and memory that an autoencoder of Stable Diffusion's shape with new weights takes on the
// CPU: one picture decoded, encoded, and decoded in tiles, and a projection fitted for previews.
//
//   codec_bench [THREADS] [SIDE]
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

#include "core/codec/latent_projection.h"
#include "core/codec/tiled_pass.h"
#include "tests/core/codec/test_codecs.h"
#include "tests/support/bench_arguments.h"
#include "tests/support/process_memory.h"

namespace denoise {
namespace {

constexpr char kStableDiffusion[] = R"({"_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D",
                         "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D",
                       "UpDecoderBlock2D"]})";

double SecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Prints the time of `work` and the most memory it held on top of what was there.
void Measure(const char* name, const std::function<void()>& work) {
  ResetPeakMemory();
  const double before = ResidentMebibytes();
  const double seconds = SecondsOf(work);
  std::printf("%-20s %8.2f s %8.0f MiB\n", name, seconds, PeakMebibytes() - before);
}

void DecodeInTiles(std::shared_ptr<const Codec> codec, const at::Tensor& latents) {
  TiledPass pass = TiledPass::Decode(std::move(codec), latents, {.side = 256, .overlap = 64});
  double longest = 0;
  while (!pass.done()) longest = std::max(longest, SecondsOf([&] { pass.Advance(); }));
  std::printf("  %ld tiles of 256 pixels, the longest %.2f s\n", static_cast<long>(pass.steps()),
              longest);
}

void Run(int64_t side) {
  const c10::InferenceMode inference;
  const auto codec = RandomCodec(kStableDiffusion);
  std::printf("%d threads, %ld x %ld pixels, %ld parameters\n", at::get_num_threads(),
              static_cast<long>(side), static_cast<long>(side),
              static_cast<long>(codec->spec().num_parameters));
  const int64_t latent_side = std::max<int64_t>(1, side / codec->spec().factor);
  const at::Tensor latents = Normal({1, 4, latent_side, latent_side}, 1);
  at::Tensor pictures;
  Measure("decode", [&] { pictures = codec->Decode(latents); });
  Measure("encode", [&] { codec->Encode(pictures, {}); });
  Measure("decode in tiles", [&] { DecodeInTiles(codec, latents); });
  Measure("fit projection", [&] { FitLatentProjection(*codec, {}); });
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const denoise::BenchArguments arguments(argc, argv, "codec_bench [THREADS] [SIDE]", /*most=*/2);
  const int threads = arguments.Number(1, "THREADS", 2);
  const int side = arguments.Number(2, "SIDE", 512, /*max=*/4096);
  at::set_num_threads(threads);
  denoise::Run(side);
}
