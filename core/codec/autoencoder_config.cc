#include "core/codec/autoencoder_config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

// A picture has at least 2^7 pixels for a latent's side at eight levels; no known codec has more.
constexpr size_t kMaxLevels = 8;
constexpr IntRange kPictureChannels = {1, 64};
constexpr IntRange kLatentChannels = {1, 256};
constexpr IntRange kChannels = {1, 16384};
constexpr IntRange kPixels = {1, 65536};
constexpr IntRange kLayers = {1, 64};
constexpr IntRange kTinyBlocks = {0, 64};
constexpr IntRange kCodes = {1, 1 << 20};

template <typename Value>
using Name = std::pair<std::string_view, Value>;

void ReadActivation(ConfigReader& reader, Activation& target) {
  static constexpr Name<Activation> kNames[] = {{"silu", Activation::kSilu},
                                                {"swish", Activation::kSilu},
                                                {"mish", Activation::kMish},
                                                {"gelu", Activation::kGelu},
                                                {"relu", Activation::kRelu}};
  reader.ReadName("act_fn", kNames, target);
}

void ReadPictureChannels(ConfigReader& reader, int64_t& target) {
  int64_t out = target;
  reader.Read("in_channels", target, kPictureChannels);
  reader.Read("out_channels", out, kPictureChannels);
  if (out != target) reader.Violate("out_channels", "must equal in_channels");
}

// A key whose only effect is on how the library tiles. It may be a number or [height, width].
void CheckSampleSize(ConfigReader& reader) {
  const nlohmann::json* value = reader.Find("sample_size");
  if (value == nullptr || value->is_null()) return;
  if (value->is_array()) {
    std::vector<int64_t> size;
    reader.Read("sample_size", size, 2, kPixels);
  } else {
    int64_t size = 1;
    reader.Read("sample_size", size, kPixels);
  }
}

bool IsUsefulFactor(double factor) { return factor >= 1e-6 && factor <= 1e6; }

void ReadScalingFactor(ConfigReader& reader, LatentScaling& scaling) {
  reader.Read("scaling_factor", scaling.scaling_factor);
  if (!IsUsefulFactor(scaling.scaling_factor)) {
    reader.Violate("scaling_factor", "must be between 0.000001 and 1000000");
  }
}

void ReadShiftFactor(ConfigReader& reader, LatentScaling& scaling) {
  const nlohmann::json* value = reader.Find("shift_factor");
  if (value == nullptr || value->is_null()) return;
  double shift = 0;
  reader.Read("shift_factor", shift);
  if (!(std::abs(shift) <= 1e6)) {
    reader.Violate("shift_factor", "must be at most 1000000 in magnitude");
  }
  scaling.shift_factor = shift;
}

// A list with a number per channel, or null.
void ReadStatistic(ConfigReader& reader, const std::string& key, int64_t channels,
                   std::vector<double>& target) {
  const nlohmann::json* value = reader.Find(key);
  if (value == nullptr || value->is_null()) return;
  reader.Read(key, target);
  if (!value->is_array()) return;  // already a violation
  if (static_cast<int64_t>(target.size()) != channels) {
    reader.Violate(key, "must have a number for each of the latent_channels");
  }
}

void ReadStatistics(ConfigReader& reader, int64_t channels, LatentScaling& scaling) {
  ReadStatistic(reader, "latents_mean", channels, scaling.mean);
  ReadStatistic(reader, "latents_std", channels, scaling.std);
  if (scaling.mean.empty() != scaling.std.empty()) {
    reader.Violate(scaling.mean.empty() ? "latents_mean" : "latents_std",
                   "is needed: latents_mean and latents_std come together");
  }
  const auto small = [](double mean) { return std::abs(mean) <= 1e6; };
  if (!std::all_of(scaling.mean.begin(), scaling.mean.end(), small)) {
    reader.Violate("latents_mean", "must be at most 1000000 in magnitude");
  }
  if (!std::all_of(scaling.std.begin(), scaling.std.end(), IsUsefulFactor)) {
    reader.Violate("latents_std", "must be between 0.000001 and 1000000");
  }
}

// Whether the blocks of each level have attention.
void ReadBlockTypes(ConfigReader& reader, const std::string& key, Name<bool> plain,
                    Name<bool> attention, size_t levels, std::vector<bool>& target) {
  const Name<bool> names[] = {plain, attention};
  target = {false};
  reader.ReadNames(key, names, kMaxLevels, target);
  if (target.size() != levels) {
    reader.Violate(key, "must have as many entries as block_out_channels");
  }
}

void ReadEncoderDecoder(ConfigReader& reader, EncoderDecoderConfig& config) {
  ReadPictureChannels(reader, config.picture_channels);
  reader.Read("latent_channels", config.latent_channels, kLatentChannels);
  reader.Read("block_out_channels", config.block_out_channels, kMaxLevels, kChannels);
  const size_t levels = config.block_out_channels.size();
  ReadBlockTypes(reader, "down_block_types", {"DownEncoderBlock2D", false},
                 {"AttnDownEncoderBlock2D", true}, levels, config.down_attention);
  ReadBlockTypes(reader, "up_block_types", {"UpDecoderBlock2D", false},
                 {"AttnUpDecoderBlock2D", true}, levels, config.up_attention);
  reader.Read("layers_per_block", config.layers_per_block, kLayers);
  reader.Read("mid_block_add_attention", config.mid_attention, /*null_means=*/false);
  reader.Read("norm_num_groups", config.norm_num_groups, kChannels);
  for (size_t i = 0; i < levels; ++i) {
    if (config.block_out_channels[i] % config.norm_num_groups != 0) {
      reader.Violate(absl::StrCat("block_out_channels[", i, "]"),
                     "must be divisible by norm_num_groups");
    }
  }
  ReadActivation(reader, config.act_fn);
  CheckSampleSize(reader);
}

absl::StatusOr<AutoencoderConfig> ReadKL(ConfigReader& reader) {
  AutoencoderKLConfig config;
  ReadEncoderDecoder(reader, config.blocks);
  reader.Read("use_quant_conv", config.quant_conv, /*null_means=*/false);
  reader.Read("use_post_quant_conv", config.post_quant_conv, /*null_means=*/false);
  reader.Read("force_upcast", config.force_upcast, /*null_means=*/false);
  ReadScalingFactor(reader, config.scaling);
  ReadShiftFactor(reader, config.scaling);
  ReadStatistics(reader, config.blocks.latent_channels, config.scaling);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

absl::StatusOr<AutoencoderConfig> ReadVQ(ConfigReader& reader) {
  VQModelConfig config;
  ReadEncoderDecoder(reader, config.blocks);
  reader.Read("num_vq_embeddings", config.num_codes, kCodes);
  std::optional<int64_t> code_width;
  reader.Read("vq_embed_dim", code_width, kLatentChannels);
  config.code_width = code_width.value_or(config.blocks.latent_channels);
  reader.Read("force_upcast", config.force_upcast, /*null_means=*/false);
  ReadScalingFactor(reader, config.scaling);
  static constexpr Name<bool> kNormTypes[] = {{"group", true}};
  bool group_norm = true;
  reader.ReadName("norm_type", kNormTypes, group_norm);
  bool lookup = false;
  reader.Read("lookup_from_codebook", lookup, /*null_means=*/false);
  if (lookup) {
    reader.Violate("lookup_from_codebook",
                   "must be false: networks that denoise the codes themselves are not supported");
  }
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

// The blocks of each level of a tiny encoder or decoder, and the channels that all of them have.
void ReadTinyLevels(ConfigReader& reader, const std::string& blocks_key,
                    const std::string& channels_key, std::vector<int64_t>& blocks,
                    int64_t& channels) {
  std::vector<int64_t> widths(4, channels);
  reader.Read(channels_key, widths, kMaxLevels, kChannels);
  reader.Read(blocks_key, blocks, kMaxLevels, kTinyBlocks);
  if (blocks.size() != widths.size()) {
    reader.Violate(blocks_key, "must have as many entries as " + channels_key);
  }
  // The library's convolutions between levels do not change the number of channels.
  if (std::adjacent_find(widths.begin(), widths.end(), std::not_equal_to<>()) != widths.end()) {
    reader.Violate(channels_key, "must all be equal");
  }
  channels = widths.front();
}

absl::StatusOr<AutoencoderConfig> ReadTiny(ConfigReader& reader) {
  AutoencoderTinyConfig config;
  ReadPictureChannels(reader, config.picture_channels);
  reader.Read("latent_channels", config.latent_channels, kLatentChannels);
  ReadTinyLevels(reader, "num_encoder_blocks", "encoder_block_out_channels",
                 config.num_encoder_blocks, config.encoder_channels);
  ReadTinyLevels(reader, "num_decoder_blocks", "decoder_block_out_channels",
                 config.num_decoder_blocks, config.decoder_channels);
  if (config.num_encoder_blocks.size() != config.num_decoder_blocks.size()) {
    reader.Violate("num_decoder_blocks", "must have as many entries as num_encoder_blocks");
  }
  ReadActivation(reader, config.act_fn);
  static constexpr Name<bool> kUpsampling[] = {{"nearest", true}};
  bool nearest = true;
  reader.ReadName("upsample_fn", kUpsampling, nearest);
  int64_t upsampling = 2;
  reader.Read("upsampling_scaling_factor", upsampling, {2, 2});
  reader.Read("latent_magnitude", config.latent_magnitude);
  reader.Read("latent_shift", config.latent_shift);
  if (!IsUsefulFactor(config.latent_magnitude)) {
    reader.Violate("latent_magnitude", "must be between 0.000001 and 1000000");
  }
  if (!(std::abs(config.latent_shift) <= 1e6)) {
    reader.Violate("latent_shift", "must be at most 1000000 in magnitude");
  }
  ReadScalingFactor(reader, config.scaling);
  ReadShiftFactor(reader, config.scaling);
  // The library writes the next two and ignores what it reads.
  bool force_upcast = false;
  reader.Read("force_upcast", force_upcast, /*null_means=*/false);
  std::vector<int64_t> block_out_channels;
  reader.Read("block_out_channels", block_out_channels, kMaxLevels, kChannels);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

}  // namespace

absl::StatusOr<AutoencoderConfig> ParseAutoencoderConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseStrictJsonObject(json));
  ConfigReader reader(object, ConfigReader::Null::kValue);
  using Reader = absl::StatusOr<AutoencoderConfig> (*)(ConfigReader&);
  static constexpr Name<Reader> kClasses[] = {
      {"AutoencoderKL", ReadKL}, {"AutoencoderTiny", ReadTiny}, {"VQModel", ReadVQ}};
  Reader read = nullptr;
  reader.ReadName("_class_name", kClasses, read);
  if (!reader.Has("_class_name")) {
    reader.Violate("_class_name", "is needed: AutoencoderKL, AutoencoderTiny or VQModel");
  }
  RETURN_IF_ERROR(reader.status());
  return read(reader);
}

const std::vector<std::string>& IgnoredKeys(const AutoencoderConfig& config) {
  return std::visit(
      [](const auto& parsed) -> const std::vector<std::string>& { return parsed.ignored_keys; },
      config);
}

}  // namespace denoise
