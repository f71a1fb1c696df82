#include "core/nn/unet2d_config.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/nn/config_reader.h"

namespace denoise {
namespace {

constexpr size_t kMaxJsonBytes = 1 << 20;
constexpr size_t kMaxBlocks = 16;
constexpr IntRange kChannels = {1, 16384};
constexpr IntRange kPixels = {1, 4096};
constexpr IntRange kLayers = {1, 64};
constexpr IntRange kEmbeddingDim = {1, 65536};
constexpr IntRange kTableRows = {1, 10'000'000};

// Timestep and identity class embeddings take any number for a label. Where the file does not say
// how many there are, this many are offered, the usual range of a timestep.
constexpr int64_t kDefaultNumericLabels = 1000;

template <typename Value>
using Names = std::map<std::string, Value>;

// The value that `key` names. An absent key means `fallback`; null means `null_means`, or is
// refused.
template <typename Value>
Value ReadChoice(ConfigReader& reader, const std::string& key, const Names<Value>& names,
                 const std::string& fallback, std::optional<Value> null_means = std::nullopt) {
  const std::optional<std::string> name = reader.OptionalString(key, fallback);
  if (!name && null_means) return *null_means;
  if (const auto found = names.find(name.value_or("null")); found != names.end()) {
    return found->second;
  }
  std::string known;
  for (const auto& [candidate, value] : names) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", candidate);
  }
  reader.Violate(key, absl::StrCat("is not supported; supported: ", known));
  return names.at(fallback);
}

void ReadSampleSize(ConfigReader& reader, UNet2DConfig& config) {
  const nlohmann::json* value = reader.Find("sample_size");
  if (value == nullptr || value->is_null()) {
    reader.Violate("sample_size", "is needed: the height and width of the images");
  } else if (value->is_array()) {
    const std::vector<int64_t> size = reader.Ints("sample_size", {}, 2, kPixels);
    if (size.size() == 2) {
      config.height = size[0];
      config.width = size[1];
    } else if (!size.empty()) {
      reader.Violate("sample_size", "must be a number or [height, width]");
    }
  } else {
    config.height = config.width = reader.Int("sample_size", 0, kPixels);
  }
}

void ReadTimeEmbedding(ConfigReader& reader, UNet2DConfig& config) {
  static const Names<TimeEmbeddingType> kTypes = {{"positional", TimeEmbeddingType::kPositional},
                                                  {"fourier", TimeEmbeddingType::kFourier},
                                                  {"learned", TimeEmbeddingType::kLearned}};
  config.time_embedding_type = ReadChoice(reader, "time_embedding_type", kTypes, "positional");
  config.time_embedding_dim = reader.OptionalInt("time_embedding_dim", std::nullopt, kEmbeddingDim)
                                  .value_or(4 * config.block_out_channels[0]);
  config.flip_sin_to_cos = reader.Bool("flip_sin_to_cos", true);
  config.freq_shift = reader.Number("freq_shift", 0);
  const int64_t half = config.block_out_channels[0] / 2;
  if (config.time_embedding_type == TimeEmbeddingType::kPositional && half > 0 &&
      !(config.freq_shift < static_cast<double>(half) && config.freq_shift > -1e6)) {
    reader.Violate("freq_shift", "must be above -1000000 and below half of block_out_channels[0]");
  }
  const auto rows = reader.OptionalInt("num_train_timesteps", std::nullopt, kTableRows);
  if (config.time_embedding_type == TimeEmbeddingType::kLearned) {
    if (!rows) reader.Violate("num_train_timesteps", "is needed by a learned time embedding");
    config.num_train_timesteps = rows.value_or(0);
  }
}

void ReadClassEmbedding(ConfigReader& reader, UNet2DConfig& config) {
  static const Names<ClassEmbedding> kTypes = {{"timestep", ClassEmbedding::kTimestep},
                                               {"identity", ClassEmbedding::kIdentity},
                                               {"null", ClassEmbedding::kTable}};
  config.class_embedding = ReadChoice(reader, "class_embed_type", kTypes, "null");
  const auto labels = reader.OptionalInt("num_class_embeds", std::nullopt, kTableRows);
  if (config.class_embedding == ClassEmbedding::kTable) {
    if (!labels) config.class_embedding = ClassEmbedding::kNone;
    config.num_class_embeds = labels.value_or(0);
  } else {
    config.num_class_embeds = labels.value_or(kDefaultNumericLabels);
  }
}

// Translates block names to levels. Blocks without attention carry their resampling in their name,
// those with it have a key for it.
std::vector<UNet2DLevel> ReadLevels(ConfigReader& reader, const std::string& key,
                                    const Names<UNet2DLevel>& names,
                                    const std::vector<std::string>& fallback) {
  std::vector<UNet2DLevel> levels;
  const std::vector<std::string> types = reader.Strings(key, fallback, kMaxBlocks);
  for (size_t i = 0; i < types.size(); ++i) {
    if (const auto found = names.find(types[i]); found != names.end()) {
      levels.push_back(found->second);
    } else {
      levels.emplace_back();
      reader.Violate(absl::StrCat(key, "[", i, "]"),
                     absl::StrCat("block type ", types[i].substr(0, 64), " is not supported"));
    }
  }
  return levels;
}

void ReadBlocks(ConfigReader& reader, UNet2DConfig& config) {
  static const Names<Resampling> kResampling = {{"conv", Resampling::kConv},
                                                {"resnet", Resampling::kResnet}};
  const Resampling down =
      ReadChoice<Resampling>(reader, "downsample_type", kResampling, "conv", Resampling::kConv);
  const Resampling up =
      ReadChoice<Resampling>(reader, "upsample_type", kResampling, "conv", Resampling::kConv);
  config.down_blocks = ReadLevels(
      reader, "down_block_types",
      {{"DownBlock2D", {.attention = false, .resampling = Resampling::kConv}},
       {"AttnDownBlock2D", {.attention = true, .resampling = down}},
       {"ResnetDownsampleBlock2D", {.attention = false, .resampling = Resampling::kResnet}}},
      {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"});
  config.up_blocks = ReadLevels(
      reader, "up_block_types",
      {{"UpBlock2D", {.attention = false, .resampling = Resampling::kConv}},
       {"AttnUpBlock2D", {.attention = true, .resampling = up}},
       {"ResnetUpsampleBlock2D", {.attention = false, .resampling = Resampling::kResnet}}},
      {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"});
  for (const auto& [key, size] : {std::pair{"down_block_types", config.down_blocks.size()},
                                  std::pair{"up_block_types", config.up_blocks.size()}}) {
    if (size != config.block_out_channels.size()) {
      reader.Violate(key, "must be as many as block_out_channels");
    }
  }
  config.layers_per_block = reader.Int("layers_per_block", 2, kLayers);
  config.downsample_padding = reader.Int("downsample_padding", 1, {0, 1});
}

void ReadMidBlock(ConfigReader& reader, UNet2DConfig& config) {
  static const Names<bool> kTypes = {{"UNetMidBlock2D", true}};
  config.mid_block = ReadChoice<bool>(reader, "mid_block_type", kTypes, "UNetMidBlock2D", false);
  config.mid_attention = reader.Bool("add_attention", true);
  config.mid_block_scale_factor = reader.Number("mid_block_scale_factor", 1);
  const double magnitude = std::abs(config.mid_block_scale_factor);
  if (!(magnitude >= 1e-6 && magnitude <= 1e6)) {
    reader.Violate("mid_block_scale_factor", "must be between 0.000001 and 1000000 in magnitude");
  }
}

void ReadLayers(ConfigReader& reader, UNet2DConfig& config) {
  static const Names<Activation> kActivations = {{"silu", Activation::kSilu},
                                                 {"swish", Activation::kSilu},
                                                 {"mish", Activation::kMish},
                                                 {"gelu", Activation::kGelu},
                                                 {"relu", Activation::kRelu}};
  static const Names<TimeShift> kShifts = {{"default", TimeShift::kDefault},
                                           {"scale_shift", TimeShift::kScaleShift}};
  config.act_fn = ReadChoice(reader, "act_fn", kActivations, "silu");
  config.resnet_time_scale_shift =
      ReadChoice(reader, "resnet_time_scale_shift", kShifts, "default");
  config.norm_num_groups = reader.Int("norm_num_groups", 32, kChannels);
  config.norm_eps = reader.Number("norm_eps", 1e-5);
  if (!(config.norm_eps > 0 && config.norm_eps <= 1)) {
    reader.Violate("norm_eps", "must be above 0 and at most 1");
  }
  config.attn_norm_num_groups = reader.OptionalInt("attn_norm_num_groups", std::nullopt, kChannels);
  config.attention_head_dim = reader.OptionalInt("attention_head_dim", 8, kChannels);
  reader.Number("dropout", 0);  // changes nothing at inference
}

// What must divide what. Called once every number is in range.
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
  if (json.size() > kMaxJsonBytes) return absl::InvalidArgumentError("the file is too large");
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("the file is not a JSON object");

  ConfigReader reader(object);
  UNet2DConfig config;
  ReadChoice<bool>(reader, "_class_name", {{"UNet2DModel", true}}, "UNet2DModel");
  config.in_channels = reader.Int("in_channels", 3, kChannels);
  config.out_channels = reader.Int("out_channels", 3, kChannels);
  config.center_input_sample = reader.Bool("center_input_sample", false);
  config.block_out_channels =
      reader.Ints("block_out_channels", config.block_out_channels, kMaxBlocks, kChannels);
  ReadSampleSize(reader, config);
  ReadTimeEmbedding(reader, config);
  ReadClassEmbedding(reader, config);
  ReadBlocks(reader, config);
  ReadMidBlock(reader, config);
  ReadLayers(reader, config);
  if (reader.ok()) CheckDivisibility(reader, config);
  if (absl::Status status = reader.Finish(); !status.ok()) return status;
  return config;
}

}  // namespace denoise
