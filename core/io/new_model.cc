#include "core/io/new_model.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/nn/unet2d.h"

namespace denoise {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kLibraryVersion[] = "0.40.0";  // of diffusers, which has these keys
constexpr int64_t kMaxPixels = 1024;
constexpr int64_t kMaxAttendingPixels = 64 * 64;
constexpr int64_t kDefaultAttentionSize = 16;
constexpr int64_t kMaxNormGroups = 32;
constexpr int64_t kHeadChannels = 64;  // Dhariwal & Nichol 2021, section 4.1
constexpr size_t kMaxLevels = 8;
constexpr size_t kMaxClasses = 10'000;
constexpr int64_t kMaxParameters = 500'000'000;

std::string Element(std::string_view list, size_t index) {
  return absl::StrCat(std::string(list), "[", index, "]");
}

bool IsOneOf(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool IsVariancePreserving(const NewModelOptions& options) {
  return options.noise_schedule != "edm" && options.noise_schedule != "flow";
}

std::string PredictionTypeOf(const NewModelOptions& options) {
  if (!options.prediction_type.empty()) return options.prediction_type;
  if (options.noise_schedule == "flow") return "flow_prediction";
  return options.noise_schedule == "edm" ? "epsilon" : "v_prediction";
}

// The larger side of pictures at a level.
int64_t SizeAt(const NewModelOptions& options, size_t level) {
  return std::max(options.height, options.width) >> level;
}

std::vector<int64_t> AttentionLevels(const NewModelOptions& options) {
  if (options.attention_levels) return *options.attention_levels;
  std::vector<int64_t> levels;
  for (size_t i = 0; i < options.block_out_channels.size(); ++i) {
    if (SizeAt(options, i) <= kDefaultAttentionSize) levels.push_back(static_cast<int64_t>(i));
  }
  return levels;
}

bool HasMidAttention(const NewModelOptions& options) {
  return !options.attention_levels || !options.attention_levels->empty();
}

void CheckAttendingPixels(const NewModelOptions& options, size_t level, std::string_view field,
                          FieldViolations& violations) {
  const int64_t pixels = (options.height >> level) * (options.width >> level);
  if (pixels <= kMaxAttendingPixels) return;
  violations.Add(field, absl::StrCat("level ", level, " has ", pixels, " pixels; at most ",
                                     kMaxAttendingPixels, " may attend to each other"));
}

// Checks each size and list by itself.
void CheckSizes(const NewModelOptions& options, FieldViolations& violations) {
  violations.CheckRange("height", options.height, 1, kMaxPixels);
  violations.CheckRange("width", options.width, 1, kMaxPixels);
  if (options.channels != 1 && options.channels != 3) {
    violations.Add("channels", absl::StrCat("must be 1 or 3, is ", options.channels));
  }
  const std::vector<int64_t>& channels = options.block_out_channels;
  if (channels.empty() || channels.size() > kMaxLevels) {
    violations.Add("block_out_channels", absl::StrCat("must have 1 to ", kMaxLevels, " levels"));
  }
  for (size_t i = 0; i < std::min(channels.size(), kMaxLevels); ++i) {
    violations.CheckRange(Element("block_out_channels", i), channels[i], 8, 2048);
  }
  violations.CheckRange("layers_per_block", options.layers_per_block, 1, 8);
  violations.CheckRange("num_train_timesteps", options.num_train_timesteps, 50, 10'000);
  if (options.class_names.size() > kMaxClasses) {
    violations.Add("class_names", absl::StrCat("must be at most ", kMaxClasses));
  }
}

// Requires valid sizes.
void CheckLevels(const NewModelOptions& options, FieldViolations& violations) {
  const size_t levels = options.block_out_channels.size();
  const int64_t factor = int64_t{1} << (levels - 1);
  for (const auto& [field, size] :
       {std::pair{"height", options.height}, {"width", options.width}}) {
    if (size % factor == 0) continue;
    violations.Add(field, absl::StrCat("must be divisible by ", factor,
                                       ", because every level but the last halves it"));
  }
  const std::vector<int64_t> attention = AttentionLevels(options);
  for (size_t i = 0; i < std::min(attention.size(), kMaxLevels); ++i) {
    const std::string field = Element("attention_levels", i);
    const int64_t level = attention[i];
    violations.CheckRange(field, level, 0, static_cast<int64_t>(levels) - 1);
    if (level < 0 || level >= static_cast<int64_t>(levels)) continue;
    CheckAttendingPixels(options, static_cast<size_t>(level), field, violations);
  }
  if (attention.size() > kMaxLevels) {
    violations.Add("attention_levels", absl::StrCat("must be at most ", kMaxLevels));
  }
  if (HasMidAttention(options)) {
    CheckAttendingPixels(options, levels - 1, "block_out_channels", violations);
  }
}

void CheckDiffusion(const NewModelOptions& options, FieldViolations& violations) {
  const std::string& schedule = options.noise_schedule;
  if (!IsOneOf(schedule,
               {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "edm", "flow"})) {
    return violations.Add("noise_schedule",
                          absl::StrCat("must be one of linear, scaled_linear, squaredcos_cap_v2, "
                                       "sigmoid, edm, flow; is ",
                                       Quoted(schedule)));
  }
  const std::string prediction = PredictionTypeOf(options);
  const bool fits = schedule == "flow" ? prediction == "flow_prediction"
                    : schedule == "edm"
                        ? IsOneOf(prediction, {"epsilon", "v_prediction"})
                        : IsOneOf(prediction, {"epsilon", "sample", "v_prediction"});
  if (!fits) {
    violations.Add(
        "prediction_type",
        absl::StrCat(Quoted(prediction), " does not go with the noise schedule ", schedule));
  }
  if (options.learned_variance && !IsVariancePreserving(options)) {
    violations.Add("learned_variance", "needs a variance preserving noise schedule");
  }
}

std::string IndexText(const NewModelOptions& options, const std::string& scheduler_class) {
  Json index = {{"_class_name", "DDPMPipeline"},
                {"_diffusers_version", kLibraryVersion},
                {"scheduler", {"diffusers", scheduler_class}},
                {"unet", {"diffusers", "UNet2DModel"}}};
  if (!options.class_names.empty()) {
    for (size_t i = 0; i < options.class_names.size(); ++i) {
      index["id2label"][absl::StrCat(i)] = options.class_names[i];
    }
    index["null_class_label"] = options.class_names.size();
  }
  return index.dump(2);
}

int64_t NormGroups(const std::vector<int64_t>& block_out_channels) {
  int64_t groups = kMaxNormGroups;
  for (int64_t channels : block_out_channels) {
    while (channels % groups != 0) groups /= 2;
  }
  return groups;
}

Json HeadChannels(const NewModelOptions& options) {
  std::vector<int64_t> attending = AttentionLevels(options);
  attending.push_back(static_cast<int64_t>(options.block_out_channels.size()) - 1);  // the middle
  for (int64_t level : attending) {
    if (options.block_out_channels[static_cast<size_t>(level)] % kHeadChannels != 0) return nullptr;
  }
  return kHeadChannels;
}

std::string UNetText(const NewModelOptions& options) {
  const size_t levels = options.block_out_channels.size();
  const std::vector<int64_t> attention = AttentionLevels(options);
  std::vector<std::string> down, up;
  for (size_t i = 0; i < levels; ++i) {
    const bool attends =
        std::find(attention.begin(), attention.end(), static_cast<int64_t>(i)) != attention.end();
    down.push_back(attends ? "AttnDownBlock2D" : "DownBlock2D");
    up.insert(up.begin(), attends ? "AttnUpBlock2D" : "UpBlock2D");
  }
  const bool square = options.height == options.width;
  const size_t classes = options.class_names.size();
  const Json config = {
      {"_class_name", "UNet2DModel"},
      {"_diffusers_version", kLibraryVersion},
      {"act_fn", "silu"},
      {"add_attention", HasMidAttention(options)},
      {"attention_head_dim", HeadChannels(options)},
      {"attn_norm_num_groups", nullptr},
      {"block_out_channels", options.block_out_channels},
      {"center_input_sample", false},
      {"class_embed_type", nullptr},
      {"down_block_types", down},
      {"downsample_padding", 1},
      {"downsample_type", "conv"},
      {"dropout", 0.0},
      {"flip_sin_to_cos", true},
      {"freq_shift", 0},
      {"in_channels", options.channels},
      {"layers_per_block", options.layers_per_block},
      {"mid_block_scale_factor", 1},
      {"mid_block_type", "UNetMidBlock2D"},
      {"norm_eps", 1e-5},
      {"norm_num_groups", NormGroups(options.block_out_channels)},
      {"num_class_embeds", classes == 0 ? Json() : Json(classes + 1)},
      {"num_train_timesteps", nullptr},
      {"out_channels", options.learned_variance ? 2 * options.channels : options.channels},
      {"resnet_time_scale_shift", options.scale_shift_norm ? "scale_shift" : "default"},
      {"sample_size", square ? Json(options.height) : Json({options.height, options.width})},
      {"time_embedding_dim", nullptr},
      {"time_embedding_type", "positional"},
      {"up_block_types", up},
      {"upsample_type", "conv"}};
  return config.dump(2);
}

Json VpScheduler(const NewModelOptions& options) {
  const double timesteps = static_cast<double>(options.num_train_timesteps);
  return {{"_class_name", "DDPMScheduler"},
          {"_diffusers_version", kLibraryVersion},
          {"beta_end", 20 / timesteps},
          {"beta_schedule", options.noise_schedule},
          {"beta_start", 0.1 / timesteps},
          {"clip_sample", true},
          {"clip_sample_range", 1.0},
          {"dynamic_thresholding_ratio", 0.995},
          {"num_train_timesteps", options.num_train_timesteps},
          {"prediction_type", PredictionTypeOf(options)},
          {"rescale_betas_zero_snr", false},
          {"sample_max_value", 1.0},
          {"steps_offset", 0},
          {"thresholding", false},
          {"timestep_spacing", "trailing"},
          {"trained_betas", nullptr},
          {"variance_type", options.learned_variance ? "learned_range" : "fixed_small"}};
}

Json EdmScheduler(const NewModelOptions& options) {
  return {{"_class_name", "EDMEulerScheduler"},
          {"_diffusers_version", kLibraryVersion},
          {"final_sigmas_type", "zero"},
          {"num_train_timesteps", options.num_train_timesteps},
          {"prediction_type", PredictionTypeOf(options)},
          {"rho", 7.0},
          {"sigma_data", 0.5},
          {"sigma_max", 80.0},
          {"sigma_min", 0.002},
          {"sigma_schedule", "karras"}};
}

Json FlowScheduler(const NewModelOptions& options) {
  return {{"_class_name", "FlowMatchEulerDiscreteScheduler"},
          {"_diffusers_version", kLibraryVersion},
          {"base_image_seq_len", 256},
          {"base_shift", 0.5},
          {"invert_sigmas", false},
          {"max_image_seq_len", 4096},
          {"max_shift", 1.15},
          {"num_train_timesteps", options.num_train_timesteps},
          {"shift", 1.0},
          {"shift_terminal", nullptr},
          {"use_beta_sigmas", false},
          {"use_dynamic_shifting", false},
          {"use_exponential_sigmas", false},
          {"use_karras_sigmas", false}};
}

Json SchedulerJson(const NewModelOptions& options) {
  if (options.noise_schedule == "edm") return EdmScheduler(options);
  if (options.noise_schedule == "flow") return FlowScheduler(options);
  return VpScheduler(options);
}

// The option that a key of the texts comes from.
std::string OptionOf(const std::string& key) {
  absl::string_view label = key;
  if (absl::ConsumePrefix(&label, "id2label.")) return absl::StrCat("class_names[", label, "]");
  return key;
}

absl::Status InOptions(const absl::Status& status) {
  FieldViolations violations;
  for (const auto& [field, description] : GetFieldViolations(status)) {
    violations.Add(OptionOf(field), description);
  }
  return violations.empty() ? status : violations.ToStatus();
}

absl::StatusOr<ModelTexts> Texts(const NewModelOptions& options) {
  const Json scheduler = SchedulerJson(options);
  try {
    return ModelTexts{
        .model_index = IndexText(options, scheduler["_class_name"].get<std::string>()),
        .unet_config = UNetText(options),
        .scheduler_config = scheduler.dump(2)};
  } catch (const nlohmann::json::exception&) {
    return InvalidField("class_names", "must be valid UTF-8");
  }
}

}  // namespace

absl::StatusOr<ParsedModel> NewModel(const NewModelOptions& options) {
  FieldViolations violations;
  CheckSizes(options, violations);
  if (violations.empty()) CheckLevels(options, violations);
  CheckDiffusion(options, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(ModelTexts texts, Texts(options));
  absl::StatusOr<ParsedModel> model = ParsedModel::Parse(std::move(texts));
  if (!model.ok()) return InOptions(model.status());
  const int64_t parameters = CountUNet2DParameters(model->description().unet);
  if (parameters > kMaxParameters) {
    return InvalidField("block_out_channels",
                        absl::StrCat("make a network of ", parameters, " parameters; at most ",
                                     kMaxParameters, " are allowed"));
  }
  return model;
}

}  // namespace denoise
