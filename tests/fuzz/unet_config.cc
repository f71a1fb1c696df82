#include "core/base/field_violations.h"
#include "core/nn/unet2d_config.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<UNet2DConfig> config = ParseUNet2DConfig(AsText(data, size));
  if (!config.ok()) {
    Require(absl::IsInvalidArgument(config.status()), "a bad config is INVALID_ARGUMENT");
    return 0;
  }
  Require(config->height > 0 && config->width > 0, "a picture has pixels");
  Require(config->in_channels > 0 && config->out_channels > 0, "a picture has channels");
  Require(config->down_blocks.size() == config->block_out_channels.size() &&
              config->up_blocks.size() == config->block_out_channels.size(),
          "every level goes down and up");
  Require((config->num_class_embeds > 0) == (config->class_embedding != ClassEmbedding::kNone),
          "labels are offered where they are embedded");
  const size_t levels = config->block_out_channels.size();
  for (size_t level = 0; level < levels; ++level) {
    const int64_t channels = config->block_out_channels[level];
    Require(channels > 0 && channels % config->norm_num_groups == 0, "groups divide the channels");
    const bool attends = config->down_blocks[level].attention ||
                         config->up_blocks[levels - 1 - level].attention ||
                         (level == levels - 1 && config->mid_block && config->mid_attention);
    Require(!attends || config->AttentionHeads(channels) > 0, "attention has a head");
  }
  return 0;
}

}  // namespace denoise
