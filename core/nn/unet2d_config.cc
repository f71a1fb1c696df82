#include "core/nn/unet2d_config.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr char kClassName[] = "UNet2DModel";
constexpr size_t kMaxBlocks = 16;
constexpr IntRange kChannels = {1, 16384};
constexpr IntRange kPixels = {1, 4096};
constexpr IntRange kLayers = {1, 64};
constexpr IntRange kEmbeddingDim = {1, 65536};
constexpr IntRange kTableRows = {1, 10'000'000};

// Timestep and identity class embeddings accept any number as a label. If the file does not say how
// many there are, this is the number: the usual range of a timestep.
constexpr int64_t kDefaultNumericLabels = 1000;

template <typename Value>
using Name = std::pair<std::string_view, Value>;

void ReadSampleSize(ConfigReader& reader, UNet2DConfig& config) {
  const nlohmann::json* value = reader.Find("sample_size");
  if (value == nullptr || value->is_null()) {
    reader.Violate("sample_size", "is needed: the height and width of the images");
  } else if (value->is_array()) {
    std::vector<int64_t> size = {0, 0};
    reader.Read("sample_size", size, 2, kPixels);
    if (size.size() != 2) reader.Violate("sample_size", "must be a number or [height, width]");
    config.height = size.front();
    config.width = size.back();
  } else {
    reader.Read("sample_size", config.height, kPixels);
    config.width = config.height;
  }
}

void ReadTimeEmbedding(ConfigReader& reader, UNet2DConfig& config) {
  static constexpr Name<TimeEmbeddingType> kTypes[] = {
      {"positional", TimeEmbeddingType::kPositional},
      {"fourier", TimeEmbeddingType::kFourier},
      {"learned", TimeEmbeddingType::kLearned}};
  reader.ReadName("time_embedding_type", kTypes, config.time_embedding_type);
  std::optional<int64_t> dim, rows;
  reader.Read("time_embedding_dim", dim, kEmbeddingDim);
  config.time_embedding_dim = dim.value_or(4 * config.block_out_channels[0]);
  reader.Read("flip_sin_to_cos", config.flip_sin_to_cos, /*null_means=*/false);
  reader.Read("freq_shift", config.freq_shift, /*null_means=*/0);
  const int64_t half = config.block_out_channels[0] / 2;
  if (config.time_embedding_type == TimeEmbeddingType::kPositional && half > 0 &&
      !(config.freq_shift < static_cast<double>(half) && config.freq_shift > -1e6)) {
    reader.Violate("freq_shift", "must be above -1000000 and below half of block_out_channels[0]");
  }
  reader.Read("num_train_timesteps", rows, kTableRows);
  if (config.time_embedding_type == TimeEmbeddingType::kLearned) {
    if (!rows) reader.Violate("num_train_timesteps", "is needed by a learned time embedding");
    config.num_train_timesteps = rows.value_or(0);
  }
}

void ReadClassEmbedding(ConfigReader& reader, UNet2DConfig& config) {
  static constexpr Name<ClassEmbedding> kTypes[] = {{"timestep", ClassEmbedding::kTimestep},
                                                    {"identity", ClassEmbedding::kIdentity}};
  std::optional<int64_t> labels;
  reader.Read("num_class_embeds", labels, kTableRows);
  // Without a type it is a table, if that has rows.
  ClassEmbedding type = ClassEmbedding::kTable;
  reader.ReadName("class_embed_type", kTypes, type, /*null_means=*/ClassEmbedding::kTable);
  if (type != ClassEmbedding::kTable) {
    config.class_embedding = type;
    config.num_class_embeds = labels.value_or(kDefaultNumericLabels);
  } else if (labels) {
    config.class_embedding = type;
    config.num_class_embeds = *labels;
  }
}

// Blocks without attention have their resampling in their name, those with attention in a key.
void ReadLevels(ConfigReader& reader, UNet2DConfig& config) {
  static constexpr Name<Resampling> kResampling[] = {{"conv", Resampling::kConv},
                                                     {"resnet", Resampling::kResnet}};
  Resampling down = Resampling::kConv, up = Resampling::kConv;
  reader.ReadName("downsample_type", kResampling, down, /*null_means=*/Resampling::kConv);
  reader.ReadName("upsample_type", kResampling, up, /*null_means=*/Resampling::kConv);
  const UNet2DLevel plain = {.attention = false, .resampling = Resampling::kConv};
  const UNet2DLevel resnet = {.attention = false, .resampling = Resampling::kResnet};
  const UNet2DLevel attention_down = {.attention = true, .resampling = down};
  const UNet2DLevel attention_up = {.attention = true, .resampling = up};
  const Name<UNet2DLevel> down_names[] = {{"DownBlock2D", plain},
                                          {"AttnDownBlock2D", attention_down},
                                          {"ResnetDownsampleBlock2D", resnet}};
  const Name<UNet2DLevel> up_names[] = {
      {"UpBlock2D", plain}, {"AttnUpBlock2D", attention_up}, {"ResnetUpsampleBlock2D", resnet}};
  config.down_blocks = {plain, attention_down, attention_down, attention_down};
  config.up_blocks = {attention_up, attention_up, attention_up, plain};
  reader.ReadNames("down_block_types", down_names, kMaxBlocks, config.down_blocks);
  reader.ReadNames("up_block_types", up_names, kMaxBlocks, config.up_blocks);
  for (const auto& [key, size] : {std::pair{"down_block_types", config.down_blocks.size()},
                                  std::pair{"up_block_types", config.up_blocks.size()}}) {
    if (size != config.block_out_channels.size()) {
      reader.Violate(key, "must have as many entries as block_out_channels");
    }
  }
}

void ReadMidBlock(ConfigReader& reader, UNet2DConfig& config) {
  static constexpr Name<bool> kTypes[] = {{"UNetMidBlock2D", true}};
  reader.ReadName("mid_block_type", kTypes, config.mid_block, /*null_means=*/false);
  reader.Read("add_attention", config.mid_attention, /*null_means=*/false);
  reader.Read("mid_block_scale_factor", config.mid_block_scale_factor);
  const double magnitude = std::abs(config.mid_block_scale_factor);
  if (!(magnitude >= 1e-6 && magnitude <= 1e6)) {
    reader.Violate("mid_block_scale_factor", "must be between 0.000001 and 1000000 in magnitude");
  }
}

void ReadLayers(ConfigReader& reader, UNet2DConfig& config) {
  static constexpr Name<Activation> kActivations[] = {{"silu", Activation::kSilu},
                                                      {"swish", Activation::kSilu},
                                                      {"mish", Activation::kMish},
                                                      {"gelu", Activation::kGelu},
                                                      {"relu", Activation::kRelu}};
  static constexpr Name<TimeShift> kShifts[] = {{"default", TimeShift::kDefault},
                                                {"scale_shift", TimeShift::kScaleShift}};
  reader.Read("layers_per_block", config.layers_per_block, kLayers);
  reader.Read("downsample_padding", config.downsample_padding, {0, 1});
  reader.ReadName("act_fn", kActivations, config.act_fn);
  reader.ReadName("resnet_time_scale_shift", kShifts, config.resnet_time_scale_shift);
  reader.Read("norm_num_groups", config.norm_num_groups, kChannels);
  reader.Read("norm_eps", config.norm_eps);
  if (!(config.norm_eps > 0 && config.norm_eps <= 1)) {
    reader.Violate("norm_eps", "must be above 0 and at most 1");
  }
  reader.Read("attn_norm_num_groups", config.attn_norm_num_groups, kChannels);
  reader.Read("attention_head_dim", config.attention_head_dim, kChannels);
  reader.Read("dropout", config.dropout, /*null_means=*/0);
  if (!(config.dropout >= 0 && config.dropout <= 1)) {
    reader.Violate("dropout", "must be between 0 and 1");
  }
}

// Checks which sizes divide which. Every number is in range.
void CheckDivisibility(ConfigReader& reader, const UNet2DConfig& config) {
  const auto has_attention = [](const UNet2DLevel& level) { return level.attention; };
  const size_t levels = config.block_out_channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const int64_t channels = config.block_out_channels[i];
    const std::string field = absl::StrCat("block_out_channels[", i, "]");
    if (channels % config.norm_num_groups != 0) {
      reader.Violate(field, "must be divisible by norm_num_groups");
    }
    const bool deepest = i + 1 == levels;
    const bool attention = has_attention(config.down_blocks[i]) ||
                           has_attention(config.up_blocks[levels - 1 - i]) ||
                           (deepest && config.mid_block && config.mid_attention);
    if (attention && channels % config.attention_head_dim.value_or(1) != 0) {
      reader.Violate(field, "must be divisible by attention_head_dim");
    }
  }
  if (config.mid_block && config.mid_attention &&
      config.block_out_channels.back() % config.attn_norm_num_groups.value_or(1) != 0) {
    reader.Violate("attn_norm_num_groups", "must divide the last of block_out_channels");
  }
  const int64_t factor = int64_t{1} << (levels - 1);
  if (config.height % factor != 0 || config.width % factor != 0) {
    reader.Violate("sample_size", absl::StrCat("must be divisible by ", factor,
                                               ", as every level but the last halves it"));
  }
}

}  // namespace

absl::StatusOr<UNet2DConfig> ParseUNet2DConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseStrictJsonObject(json));
  ConfigReader reader(object, ConfigReader::Null::kValue);
  static constexpr Name<bool> kClasses[] = {{kClassName, true}};
  bool right_class = true;
  reader.ReadName("_class_name", kClasses, right_class);
  UNet2DConfig config;
  reader.Read("in_channels", config.in_channels, kChannels);
  reader.Read("out_channels", config.out_channels, kChannels);
  reader.Read("center_input_sample", config.center_input_sample, /*null_means=*/false);
  reader.Read("block_out_channels", config.block_out_channels, kMaxBlocks, kChannels);
  ReadSampleSize(reader, config);
  ReadTimeEmbedding(reader, config);
  ReadClassEmbedding(reader, config);
  ReadLevels(reader, config);
  ReadMidBlock(reader, config);
  ReadLayers(reader, config);
  if (reader.status().ok()) CheckDivisibility(reader, config);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

}  // namespace denoise
