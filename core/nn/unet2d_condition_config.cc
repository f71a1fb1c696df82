#include "core/nn/unet2d_condition_config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr char kClassName[] = "UNet2DConditionModel";
constexpr size_t kMaxBlocks = 16;
constexpr IntRange kChannels = {1, 16384};
constexpr IntRange kPixels = {1, 4096};
constexpr IntRange kLayers = {1, 64};
constexpr int64_t kMaxTransformerBlocks = 2048;  // in the whole network
constexpr IntRange kEmbeddingDim = {1, 65536};
constexpr IntRange kTableRows = {1, 10'000'000};
constexpr IntRange kKernel = {1, 31};
// Of a guidance scale's embedding: its frequencies are spaced by 1 / (dim / 2 - 1).
constexpr IntRange kGuidanceDim = {4, 65536};

// Timestep class embeddings accept any number as a label; see core/nn/unet2d_config.cc.
constexpr int64_t kDefaultNumericLabels = 1000;

template <typename Value>
using Name = std::pair<std::string_view, Value>;

using Json = nlohmann::json;

bool IsInteger(const Json& value, IntRange range) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned()) {
    return value.get<uint64_t>() >= static_cast<uint64_t>(range.min) &&
           value.get<uint64_t>() <= static_cast<uint64_t>(range.max);
  }
  return value.get<int64_t>() >= range.min && value.get<int64_t>() <= range.max;
}

// A number for every level, or a list of one per level.
std::vector<int64_t> ReadPerLevel(ConfigReader& reader, const std::string& key, size_t levels,
                                  int64_t otherwise, IntRange range) {
  const Json* value = reader.Find(key);
  std::vector<int64_t> numbers(levels, otherwise);
  if (value == nullptr) return numbers;
  if (value->is_array()) {
    reader.Read(key, numbers, kMaxBlocks, range);
    if (numbers.size() != levels) {
      reader.Violate(key, "must be a number or have as many entries as block_out_channels");
      numbers.assign(levels, otherwise);
    }
  } else {
    reader.Read(key, otherwise, range);
    numbers.assign(levels, otherwise);
  }
  return numbers;
}

std::vector<bool> ReadFlagPerLevel(ConfigReader& reader, const std::string& key, size_t levels) {
  const Json* value = reader.Find(key);
  if (value == nullptr || value->is_null()) return std::vector<bool>(levels, false);
  const auto is_flag = [](const Json& flag) { return flag.is_boolean(); };
  if (is_flag(*value)) return std::vector<bool>(levels, value->get<bool>());
  if (value->is_array() && value->size() == levels &&
      std::all_of(value->begin(), value->end(), is_flag)) {
    return value->get<std::vector<bool>>();
  }
  reader.Violate(key, "must be true, false or a list of one of them per level");
  return std::vector<bool>(levels, false);
}

// Refuses every value but null, and `allowed` if it is given.
void RefuseUnless(ConfigReader& reader, const std::string& key, const Json& allowed,
                  std::string_view description) {
  const Json* value = reader.Find(key);
  if (value != nullptr && !value->is_null() && *value != allowed) reader.Violate(key, description);
}

// Keys that would change the network in ways that are not supported.
void RefuseUnsupported(ConfigReader& reader) {
  RefuseUnless(reader, "dual_cross_attention", false, "is not supported: must be false");
  RefuseUnless(reader, "encoder_hid_dim", nullptr,
               "is not supported: must be null. Text states are not projected again");
  RefuseUnless(reader, "encoder_hid_dim_type", nullptr,
               "is not supported: must be null. Text states are not projected again");
  RefuseUnless(reader, "time_embedding_type", "positional",
               "is not supported: must be \"positional\"");
  RefuseUnless(reader, "time_embedding_act_fn", nullptr, "is not supported: must be null");
  RefuseUnless(reader, "timestep_post_act", nullptr, "is not supported: must be null");
  RefuseUnless(reader, "attention_type", "default",
               "is not supported: must be \"default\". Gated attention needs bounding boxes");
  RefuseUnless(reader, "class_embeddings_concat", false, "is not supported: must be false");
  RefuseUnless(reader, "cross_attention_norm", nullptr, "is not supported: must be null");
}

// Keys that are read by blocks which are refused anyway, or only in training. Published files hold
// null in some of them.
void ReadWithoutEffect(ConfigReader& reader) {
  bool flag = false;
  double number = 1, dropout = 0;
  std::optional<int64_t> heads;
  // Softmax is always computed in float32.
  reader.Read("upcast_attention", flag, /*null_means=*/false);
  reader.Read("resnet_skip_time_act", flag, /*null_means=*/false);
  reader.Read("resnet_out_scale_factor", number, /*null_means=*/1);
  reader.Read("addition_embed_type_num_heads", heads, kChannels);
  reader.Find("mid_block_only_cross_attention");
  reader.Read("dropout", dropout, /*null_means=*/0);
  if (!(dropout >= 0 && dropout <= 1)) reader.Violate("dropout", "must be between 0 and 1");
}

void ReadSampleSize(ConfigReader& reader, UNet2DConditionConfig& config) {
  const Json* value = reader.Find("sample_size");
  if (value == nullptr || value->is_null()) {
    reader.Violate("sample_size", "is needed: the height and width of samples");
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

void ReadInputAndOutput(ConfigReader& reader, UNet2DConditionConfig& config) {
  ReadSampleSize(reader, config);
  reader.Read("in_channels", config.in_channels, kChannels);
  reader.Read("out_channels", config.out_channels, kChannels);
  reader.Read("center_input_sample", config.center_input_sample, /*null_means=*/false);
  for (const auto& [key, target] : {std::pair{"conv_in_kernel", &config.conv_in_kernel},
                                    std::pair{"conv_out_kernel", &config.conv_out_kernel}}) {
    reader.Read(key, *target, kKernel);
    if (*target % 2 == 0) reader.Violate(key, "must be odd: an even kernel changes the size");
  }
}

void ReadTime(ConfigReader& reader, int64_t channels, UNet2DConditionConfig& config) {
  std::optional<int64_t> dim;
  reader.Read("time_embedding_dim", dim, kEmbeddingDim);
  config.time_embedding_dim = dim.value_or(4 * channels);
  reader.Read("flip_sin_to_cos", config.flip_sin_to_cos, /*null_means=*/false);
  reader.Read("freq_shift", config.freq_shift, /*null_means=*/0);
  const int64_t half = channels / 2;
  if (half > 0 && !(config.freq_shift < static_cast<double>(half) && config.freq_shift > -1e6)) {
    reader.Violate("freq_shift", "must be above -1000000 and below half of block_out_channels[0]");
  }
  reader.Read("time_cond_proj_dim", config.time_cond_proj_dim, kGuidanceDim);
}

void ReadClassEmbedding(ConfigReader& reader, UNet2DConditionConfig& config) {
  std::optional<int64_t> labels;
  reader.Read("num_class_embeds", labels, kTableRows);
  const Json* type = reader.Find("class_embed_type");
  if (type == nullptr || type->is_null()) {
    if (!labels) return;
    config.class_embedding = ClassEmbedding::kTable;
    config.num_class_embeds = *labels;
  } else if (*type == "timestep") {
    config.class_embedding = ClassEmbedding::kTimestep;
    config.num_class_embeds = labels.value_or(kDefaultNumericLabels);
  } else {
    reader.Violate("class_embed_type",
                   "is not supported: must be null or \"timestep\". The library's other kinds take "
                   "a vector instead of a label");
  }
}

void ReadTextTime(ConfigReader& reader, UNet2DConditionConfig& config) {
  std::optional<int64_t> number_dim, input_dim;
  reader.Read("addition_time_embed_dim", number_dim, kEmbeddingDim);
  reader.Read("projection_class_embeddings_input_dim", input_dim, kEmbeddingDim);
  const Json* type = reader.Find("addition_embed_type");
  if (type == nullptr || type->is_null()) return;
  if (*type != "text_time") {
    return reader.Violate("addition_embed_type", "is not supported: must be null or \"text_time\"");
  }
  for (const auto& [key, given] :
       {std::pair{"addition_time_embed_dim", number_dim.has_value()},
        std::pair{"projection_class_embeddings_input_dim", input_dim.has_value()}}) {
    if (!given) reader.Violate(key, "is needed by addition_embed_type \"text_time\"");
  }
  config.text_time = {.number_dim = number_dim.value_or(2), .input_dim = input_dim.value_or(3)};
  const double half = static_cast<double>(config.text_time->number_dim / 2);
  if (half > 0 && !(config.freq_shift < half)) {
    reader.Violate("freq_shift", "must be below half of addition_time_embed_dim");
  }
}

// Which levels have attention, in the order of the file.
std::vector<bool> ReadBlockTypes(ConfigReader& reader, const std::string& key,
                                 std::string_view plain, std::string_view attention,
                                 std::vector<bool> otherwise, size_t levels) {
  // std::vector<bool> has no elements to refer to.
  std::vector<int> types(otherwise.begin(), otherwise.end());
  const Name<int> names[] = {{plain, 0}, {attention, 1}};
  reader.ReadNames(key, names, kMaxBlocks, types);
  if (types.size() != levels) {
    reader.Violate(key, "must have as many entries as block_out_channels");
    types.resize(levels);
  }
  return {types.begin(), types.end()};
}

// transformer_layers_per_block and its counterpart for the up blocks: a number, a number per level,
// or a list of a number per layer in some levels. An entry per level.
std::vector<std::vector<int64_t>> ReadTransformers(ConfigReader& reader, const std::string& key,
                                                   const std::vector<int64_t>& layers) {
  std::vector<std::vector<int64_t>> transformers;
  for (const int64_t count : layers) {
    transformers.push_back(std::vector<int64_t>(static_cast<size_t>(count), 1));
  }
  const Json* value = reader.Find(key);
  if (value == nullptr || value->is_null()) return transformers;
  const auto is_number = [](const Json& number) { return IsInteger(number, kLayers); };
  const std::string wrong = absl::StrCat("must be integers from ", kLayers.min, " to ", kLayers.max,
                                         ": one, one per level, or one per layer of a level");
  if (value->is_array() && value->size() != layers.size()) {
    reader.Violate(key, wrong);
    return transformers;
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const Json& level = value->is_array() ? (*value)[i] : *value;
    const bool listed = level.is_array() && level.size() == transformers[i].size() &&
                        std::all_of(level.begin(), level.end(), is_number);
    if (listed) {
      transformers[i] = level.get<std::vector<int64_t>>();
    } else if (is_number(level)) {
      std::fill(transformers[i].begin(), transformers[i].end(), level.get<int64_t>());
    } else {
      reader.Violate(key, wrong);
      return transformers;
    }
  }
  return transformers;
}

// The transformers of the up blocks, counted like the levels.
std::vector<std::vector<int64_t>> ReadUpTransformers(ConfigReader& reader,
                                                     const std::vector<std::vector<int64_t>>& down,
                                                     const std::vector<int64_t>& layers) {
  std::vector<int64_t> up_layers(layers.rbegin(), layers.rend());
  for (int64_t& count : up_layers) ++count;
  const std::string key = "reverse_transformer_layers_per_block";
  auto up = ReadTransformers(reader, key, up_layers);
  std::reverse(up.begin(), up.end());
  const Json* reverse = reader.Find(key);
  if (reverse != nullptr && !reverse->is_null()) return up;
  for (size_t i = 0; i < down.size(); ++i) {
    const bool equal = std::all_of(down[i].begin(), down[i].end(),
                                   [&](int64_t count) { return count == down[i].front(); });
    if (!equal) reader.Violate(key, "is needed where transformer_layers_per_block has lists");
    up[i].assign(up[i].size(), down[i].front());
  }
  return up;
}

// The library calls the number of heads attention_head_dim.
std::vector<int64_t> ReadHeads(ConfigReader& reader, size_t levels) {
  const auto by_old_name = ReadPerLevel(reader, "attention_head_dim", levels, 8, kChannels);
  const Json* heads = reader.Find("num_attention_heads");
  if (heads == nullptr || heads->is_null()) return by_old_name;
  return ReadPerLevel(reader, "num_attention_heads", levels, 8, kChannels);
}

void ReadLevels(ConfigReader& reader, const std::vector<int64_t>& channels,
                UNet2DConditionConfig& config) {
  const size_t levels = channels.size();
  const auto down = ReadBlockTypes(reader, "down_block_types", "DownBlock2D",
                                   "CrossAttnDownBlock2D", {true, true, true, false}, levels);
  auto up = ReadBlockTypes(reader, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D",
                           {false, true, true, true}, levels);
  std::reverse(up.begin(), up.end());
  const auto layers = ReadPerLevel(reader, "layers_per_block", levels, 2, kLayers);
  const auto heads = ReadHeads(reader, levels);
  const auto only_text = ReadFlagPerLevel(reader, "only_cross_attention", levels);
  const auto down_transformers = ReadTransformers(reader, "transformer_layers_per_block", layers);
  const auto up_transformers = ReadUpTransformers(reader, down_transformers, layers);
  using Counts = std::vector<int64_t>;
  for (size_t i = 0; i < levels; ++i) {
    config.levels.push_back({.channels = channels[i],
                             .layers = layers[i],
                             .heads = heads[i],
                             .only_text = only_text[i],
                             .down_transformers = down[i] ? down_transformers[i] : Counts(),
                             .up_transformers = up[i] ? up_transformers[i] : Counts()});
  }
  config.mid_transformers = down_transformers.back().front();
}

void ReadMidBlock(ConfigReader& reader, UNet2DConditionConfig& config) {
  static constexpr Name<ConditionMidBlock> kTypes[] = {
      {"UNetMidBlock2DCrossAttn", ConditionMidBlock::kCrossAttention},
      {"UNetMidBlock2D", ConditionMidBlock::kResnet}};
  reader.ReadName("mid_block_type", kTypes, config.mid_block,
                  /*null_means=*/ConditionMidBlock::kNone);
  reader.Read("mid_block_scale_factor", config.mid_block_scale_factor);
  const double magnitude = std::abs(config.mid_block_scale_factor);
  if (!(magnitude >= 1e-6 && magnitude <= 1e6)) {
    reader.Violate("mid_block_scale_factor", "must be between 0.000001 and 1000000 in magnitude");
  }
}

void ReadStyle(ConfigReader& reader, UNet2DConditionConfig& config) {
  static constexpr Name<Activation> kActivations[] = {{"silu", Activation::kSilu},
                                                      {"swish", Activation::kSilu},
                                                      {"mish", Activation::kMish},
                                                      {"gelu", Activation::kGelu},
                                                      {"relu", Activation::kRelu}};
  static constexpr Name<TimeShift> kShifts[] = {{"default", TimeShift::kDefault},
                                                {"scale_shift", TimeShift::kScaleShift}};
  reader.Read("use_linear_projection", config.use_linear_projection, /*null_means=*/false);
  reader.Read("downsample_padding", config.downsample_padding, {0, 1});
  reader.ReadName("act_fn", kActivations, config.act_fn);
  reader.ReadName("resnet_time_scale_shift", kShifts, config.resnet_time_scale_shift);
  reader.Read("norm_num_groups", config.norm_num_groups, kChannels);
  reader.Read("norm_eps", config.norm_eps);
  if (!(config.norm_eps > 0 && config.norm_eps <= 1)) {
    reader.Violate("norm_eps", "must be above 0 and at most 1");
  }
}

bool HasAttention(const UNet2DConditionConfig& config, size_t level) {
  const bool mid =
      level + 1 == config.levels.size() && config.mid_block == ConditionMidBlock::kCrossAttention;
  return mid || !config.levels[level].down_transformers.empty() ||
         !config.levels[level].up_transformers.empty();
}

// All levels read the same text, so their widths of it must agree where they have attention.
void ReadTextWidth(ConfigReader& reader, UNet2DConditionConfig& config) {
  const size_t levels = config.levels.size();
  const auto widths = ReadPerLevel(reader, "cross_attention_dim", levels, 1280, kEmbeddingDim);
  for (size_t i = 0; i < levels; ++i) {
    if (!HasAttention(config, i)) continue;
    if (config.cross_attention_dim != 0 && config.cross_attention_dim != widths[i]) {
      return reader.Violate("cross_attention_dim", "must be the same in all levels with attention");
    }
    config.cross_attention_dim = widths[i];
  }
  if (config.cross_attention_dim == 0) {
    reader.Violate("down_block_types", "must have a level with attention: the text is not read");
  }
}

void CheckNumberOfTransformerBlocks(ConfigReader& reader, const UNet2DConditionConfig& config) {
  int64_t blocks = config.mid_transformers;
  for (const UNet2DConditionLevel& level : config.levels) {
    for (const int64_t count : level.down_transformers) blocks += count;
    for (const int64_t count : level.up_transformers) blocks += count;
  }
  if (blocks > kMaxTransformerBlocks) {
    reader.Violate("transformer_layers_per_block",
                   absl::StrCat("makes ", blocks, " transformer blocks; at most ",
                                kMaxTransformerBlocks, " are allowed"));
  }
}

// Checks which sizes divide which. Every number is in range.
void CheckDivisibility(ConfigReader& reader, const UNet2DConditionConfig& config) {
  for (size_t i = 0; i < config.levels.size(); ++i) {
    const UNet2DConditionLevel& level = config.levels[i];
    const std::string field = absl::StrCat("block_out_channels[", i, "]");
    if (level.channels % config.norm_num_groups != 0) {
      reader.Violate(field, "must be divisible by norm_num_groups");
    }
    if (HasAttention(config, i) && level.channels % level.heads != 0) {
      reader.Violate(field, "must be divisible by attention_head_dim, the number of heads");
    }
  }
}

}  // namespace

absl::StatusOr<UNet2DConditionConfig> ParseUNet2DConditionConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const Json object, ParseStrictJsonObject(json));
  ConfigReader reader(object, ConfigReader::Null::kValue);
  static constexpr Name<bool> kClasses[] = {{kClassName, true}};
  bool right_class = true;
  reader.ReadName("_class_name", kClasses, right_class);
  UNet2DConditionConfig config;
  std::vector<int64_t> channels = {320, 640, 1280, 1280};
  reader.Read("block_out_channels", channels, kMaxBlocks, kChannels);
  ReadInputAndOutput(reader, config);
  ReadTime(reader, channels[0], config);
  ReadClassEmbedding(reader, config);
  ReadTextTime(reader, config);
  ReadLevels(reader, channels, config);
  ReadMidBlock(reader, config);
  ReadStyle(reader, config);
  RefuseUnsupported(reader);
  ReadWithoutEffect(reader);
  ReadTextWidth(reader, config);
  CheckNumberOfTransformerBlocks(reader, config);
  if (reader.status().ok()) CheckDivisibility(reader, config);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

}  // namespace denoise
