#include "core/text/encoders/clip_text_config.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr IntRange kVocabulary = {1, 1 << 20};
constexpr IntRange kWidth = {1, 16384};
constexpr IntRange kInnerWidth = {1, 65536};
constexpr IntRange kLayers = {1, 128};
constexpr IntRange kPositions = {3, 4096};  // at least start, a token and end

template <typename Value>
using Name = std::pair<std::string_view, Value>;

// What the model is. A CLIPModel's file, which has both encoders, nests this one in it.
void ReadClass(ConfigReader& reader, ClipTextConfig& config) {
  static constexpr Name<bool> kTypes[] = {{"clip_text_model", true}};
  static constexpr Name<bool> kClasses[] = {{"CLIPTextModel", false},
                                            {"CLIPTextModelWithProjection", true}};
  bool known = true;
  reader.ReadName("model_type", kTypes, known);
  if (!reader.Has("architectures")) return;
  const nlohmann::json* list = reader.Find("architectures");
  if (!list->is_array() || list->size() != 1) {
    reader.Violate("architectures", "must be a list of one class");
    return;
  }
  for (const auto& [name, with_projection] : kClasses) {
    if (list->front() == nlohmann::json(name)) config.with_projection = with_projection;
  }
  if (!config.with_projection) {
    reader.Violate("architectures[0]", "must be CLIPTextModel or CLIPTextModelWithProjection");
  }
}

void ReadSizes(ConfigReader& reader, ClipTextConfig& config) {
  reader.Read("vocab_size", config.vocab_size, kVocabulary);
  reader.Read("hidden_size", config.hidden_size, kWidth);
  reader.Read("intermediate_size", config.intermediate_size, kInnerWidth);
  reader.Read("projection_dim", config.projection_dim, kWidth);
  reader.Read("num_hidden_layers", config.num_hidden_layers, kLayers);
  reader.Read("num_attention_heads", config.num_attention_heads, kWidth);
  reader.Read("max_position_embeddings", config.max_position_embeddings, kPositions);
  if (reader.status().ok() && config.hidden_size % config.num_attention_heads != 0) {
    reader.Violate("num_attention_heads",
                   absl::StrCat("must divide hidden_size, which is ", config.hidden_size));
  }
}

void ReadFunctions(ConfigReader& reader, ClipTextConfig& config) {
  static constexpr Name<TextActivation> kActivations[] = {
      {"quick_gelu", TextActivation::kQuickGelu},
      {"gelu", TextActivation::kGelu},
      {"gelu_python", TextActivation::kGelu},
      {"gelu_new", TextActivation::kGeluTanh},
      {"gelu_pytorch_tanh", TextActivation::kGeluTanh},
      {"relu", TextActivation::kRelu},
      {"silu", TextActivation::kSilu},
      {"swish", TextActivation::kSilu}};
  reader.ReadName("hidden_act", kActivations, config.hidden_act);
  reader.Read("layer_norm_eps", config.layer_norm_eps);
  if (!(config.layer_norm_eps > 0 && config.layer_norm_eps <= 1)) {
    reader.Violate("layer_norm_eps", "must be above 0 and at most 1");
  }
  reader.Read("eos_token_id", config.eos_token_id, {0, kVocabulary.max});
}

// What only training, decoding or the library's own book-keeping reads.
void ReadOthers(ConfigReader& reader) {
  for (const char* key : {"attention_dropout", "dropout"}) {
    double probability = 0;
    reader.Read(key, probability);
    if (!(probability >= 0 && probability <= 1)) reader.Violate(key, "must be between 0 and 1");
  }
  for (const char* key : {"bos_token_id", "pad_token_id", "initializer_factor", "initializer_range",
                          "dtype", "torch_dtype", "transformers_version"}) {
    reader.Find(key);
  }
}

// What would make another model of it.
void RefuseUnsupported(ConfigReader& reader) {
  if (reader.Find("quantization_config") != nullptr) {
    reader.Violate("quantization_config", "is not supported; use weights that are not quantised");
  }
  const nlohmann::json* pruned = reader.Find("pruned_heads");
  if (pruned != nullptr && !pruned->empty()) {
    reader.Violate("pruned_heads", "is not supported; must be empty");
  }
  for (const char* key : {"is_decoder", "is_encoder_decoder", "add_cross_attention"}) {
    bool set = false;
    reader.Read(key, set);
    if (set) reader.Violate(key, "must be false");
  }
}

}  // namespace

absl::StatusOr<ClipTextConfig> ParseClipTextConfig(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json object, ParseStrictJsonObject(json));
  ConfigReader reader(object, ConfigReader::Null::kAbsent);
  ClipTextConfig config;
  ReadClass(reader, config);
  ReadSizes(reader, config);
  ReadFunctions(reader, config);
  ReadOthers(reader);
  RefuseUnsupported(reader);
  RETURN_IF_ERROR(reader.status());
  config.ignored_keys = reader.UnknownKeys();
  return config;
}

}  // namespace denoise
