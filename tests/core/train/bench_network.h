// The networks that the trainer's benchmarks train.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/nn/unet2d.h"

namespace denoise {

// A UNet for pictures of `size` x `size`, with attention in its last level.
inline absl::StatusOr<UNet2DConfig> BenchNetwork(int64_t size, const std::vector<int64_t>& channels,
                                                 int64_t head_dim) {
  std::vector<std::string> down(channels.size(), R"("DownBlock2D")");
  std::vector<std::string> up(channels.size(), R"("UpBlock2D")");
  down.back() = R"("AttnDownBlock2D")";
  up.front() = R"("AttnUpBlock2D")";
  const auto list = [](const auto& items) {
    return absl::StrCat("[", absl::StrJoin(items, ","), "]");
  };
  int64_t groups = 32;
  for (const int64_t each : channels) groups = std::gcd(groups, each);
  return ParseUNet2DConfig(absl::StrCat(
      R"({"sample_size": )", size, R"(, "block_out_channels": )", list(channels),
      R"(, "down_block_types": )", list(down), R"(, "up_block_types": )", list(up),
      R"(, "norm_num_groups": )", groups, R"(, "attention_head_dim": )", head_dim, "}"));
}

}  // namespace denoise
