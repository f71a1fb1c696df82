#include "core/pipeline/adapter_names.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/sha256.h"

namespace denoise {
namespace {

struct Suffix {
  std::string_view text;
  AdapterPart part;
};
constexpr std::array<Suffix, 13> kSuffixes = {{
    {".lora_A.weight", AdapterPart::kDown},
    {".lora_B.weight", AdapterPart::kUp},
    {".lora_A.default.weight", AdapterPart::kDown},
    {".lora_B.default.weight", AdapterPart::kUp},
    {".lora_down.weight", AdapterPart::kDown},
    {".lora_up.weight", AdapterPart::kUp},
    {".lora.down.weight", AdapterPart::kDown},
    {".lora.up.weight", AdapterPart::kUp},
    {".lora_linear_layer.down.weight", AdapterPart::kDown},
    {".lora_linear_layer.up.weight", AdapterPart::kUp},
    {"_lora.down.weight", AdapterPart::kDown},
    {"_lora.up.weight", AdapterPart::kUp},
    {".alpha", AdapterPart::kAlpha},
}};

constexpr std::string_view kNetwork = "unet";
constexpr std::string_view kText = "text_encoder";
constexpr std::string_view kSecondText = "text_encoder_2";

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kPrefixes = {{
    {"unet.", kNetwork},
    {"lora_unet_", kNetwork},
    {"text_encoder.", kText},
    {"lora_te_", kText},
    {"lora_te1_", kText},
    {"text_encoder_2.", kSecondText},
    {"lora_te2_", kSecondText},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kOtherKinds = {{
    {".dora_scale", "DoRA"},
    {".lora_magnitude_vector", "DoRA"},
    {".hada_", "LoHa"},
    {".lokr_", "LoKr"},
    {".oft_", "OFT"},
    {".boft_", "BOFT"},
    {".on_input", "IA3"},
    {".lora_mid.", "LoCon with a Tucker decomposition"},
    {".lora_embedding_", "LoRA of an embedding"},
    {".lora_B.bias", "LoRA with a bias"},
    {".a1.weight", "GLoRA"},
}};

// What peft puts before every name in its own files, adapter_model.safetensors.
constexpr std::string_view kPeftPrefix = "base_model.model.";

// Parts of a resnet and of its surroundings in the first code.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kResnetParts = {{
    {"conv1", "in_layers_2"},
    {"time_emb_proj", "emb_layers_1"},
    {"conv2", "out_layers_3"},
    {"conv_shortcut", "skip_connection"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kOuterLayers = {{
    {"conv_in", "input_blocks_0_0"},
    {"conv_out", "out_2"},
    {"time_embedding.linear_1", "time_embed_0"},
    {"time_embedding.linear_2", "time_embed_2"},
    {"add_embedding.linear_1", "label_emb_0_0"},
    {"add_embedding.linear_2", "label_emb_0_2"},
}};

std::string Underscored(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '.', '_');
  return text;
}

// Removes the number and the dot behind it that `rest` begins with. The network's own names have
// one where this is called.
size_t TakeNumber(std::string_view& rest) {
  size_t number = 0;
  while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
    number = 10 * number + static_cast<size_t>(rest.front() - '0');
    rest.remove_prefix(1);
  }
  if (!rest.empty()) rest.remove_prefix(1);
  return number;
}

bool TakePrefix(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

std::string OldResnetPart(std::string_view part) {
  for (const auto& [name, old] : kResnetParts) {
    if (part == name) return std::string(old);
  }
  return Underscored(part);
}

// The blocks of a network as the first code counts them: every resnet and every change of size of
// its way down is a block, and every resnet on its way up.
class OldBlockNames {
 public:
  explicit OldBlockNames(const LayerShapes& network) {
    for (const auto& [name, shape] : network) {
      std::string_view rest = name;
      const bool down = TakePrefix(rest, "down_blocks.");
      if (!down && !TakePrefix(rest, "up_blocks.")) continue;
      const size_t level = TakeNumber(rest);
      std::vector<Level>& levels = down ? down_ : up_;
      if (levels.size() <= level) levels.resize(level + 1);
      if (TakePrefix(rest, "resnets.")) {
        levels[level].resnets = std::max(levels[level].resnets, TakeNumber(rest) + 1);
      }
      levels[level].attention |= rest.starts_with("attentions.");
    }
  }

  // The old name of `name`, or an empty one.
  std::string Of(std::string_view name) const {
    for (const auto& [outer, old] : kOuterLayers) {
      if (name == outer) return std::string(old);
    }
    if (TakePrefix(name, "mid_block.resnets.")) {
      const size_t i = TakeNumber(name);
      return "middle_block_" + std::to_string(2 * i) + "_" + OldResnetPart(name);
    }
    if (TakePrefix(name, "mid_block.attentions.0.")) return "middle_block_1_" + Underscored(name);
    if (TakePrefix(name, "down_blocks.")) return OfLevel(name, down_, true);
    if (TakePrefix(name, "up_blocks.")) return OfLevel(name, up_, false);
    return {};
  }

 private:
  struct Level {
    size_t resnets = 0;
    bool attention = false;
  };

  static std::string OfLevel(std::string_view rest, const std::vector<Level>& levels, bool down) {
    const size_t level = TakeNumber(rest);
    size_t block = down ? 1 : 0;  // the first block of the way down is conv_in
    for (size_t i = 0; i < level; ++i) block += levels[i].resnets + (down ? 1 : 0);
    const auto named = [&](size_t at, size_t layer, const std::string& part) {
      return std::string(down ? "input" : "output") + "_blocks_" + std::to_string(at) + "_" +
             std::to_string(layer) + "_" + part;
    };
    if (TakePrefix(rest, "resnets.")) {
      const size_t i = TakeNumber(rest);
      return named(block + i, 0, OldResnetPart(rest));
    }
    if (TakePrefix(rest, "attentions.")) {
      const size_t i = TakeNumber(rest);
      return named(block + i, 1, Underscored(rest));
    }
    if (rest == "downsamplers.0.conv") return named(block + levels[level].resnets, 0, "op");
    if (rest == "upsamplers.0.conv") {
      return named(block + levels[level].resnets - 1, levels[level].attention ? 2 : 1, "conv");
    }
    return {};
  }

  std::vector<Level> down_, up_;
};

// The name of an attention's projection in the library's first files of adapters, or an empty one:
// "attn1.processor.to_q" for "attn1.to_q".
std::string ProcessorName(std::string_view name) {
  for (const std::string_view attention : {".attn1.", ".attn2."}) {
    const size_t at = name.find(attention);
    if (at == std::string_view::npos) continue;
    std::string_view projection = name.substr(at + attention.size());
    if (projection == "to_out.0") projection = "to_out";
    return std::string(name.substr(0, at + attention.size())) + "processor." +
           std::string(projection);
  }
  return {};
}

}  // namespace

std::string SignatureOf(const AdapterTarget& target) {
  Sha256 hash;
  const auto add = [&](std::string_view component, const LayerShapes& layers) {
    hash.AddPart("component", component);
    for (const auto& [name, shape] : layers) hash.AddPart(name, absl::StrJoin(shape, " "));
  };
  add(kNetwork, target.network);
  for (const AdapterTarget::Text& text : target.texts) add(text.component, text.layers);
  return hash.Finish();
}

std::optional<AdapterTensorName> ParseAdapterTensorName(std::string_view name) {
  const auto suffix =
      std::find_if(kSuffixes.begin(), kSuffixes.end(),
                   [&](const Suffix& candidate) { return name.ends_with(candidate.text); });
  if (suffix == kSuffixes.end()) return std::nullopt;
  name.remove_suffix(suffix->text.size());
  TakePrefix(name, kPeftPrefix);
  std::string_view component = kNetwork;
  for (const auto& [prefix, of] : kPrefixes) {
    if (!TakePrefix(name, prefix)) continue;
    component = of;
    break;
  }
  return AdapterTensorName{std::string(component), Underscored(name), suffix->part};
}

std::optional<std::string_view> OtherAdapterKind(std::string_view name) {
  for (const auto& [marker, kind] : kOtherKinds) {
    if (name.find(marker) != std::string_view::npos) return kind;
  }
  if (name.ends_with(".diff") || name.ends_with(".diff_b")) return "full difference";
  return std::nullopt;
}

AdapterLayerNames::AdapterLayerNames(const AdapterTarget& target)
    : components_{std::string(kNetwork)}, layers_(1 + target.texts.size()) {
  const OldBlockNames old(target.network);
  for (const auto& layer : target.network) {
    Add(0, Underscored(layer.first), layer);
    Add(0, old.Of(layer.first), layer);
    Add(0, Underscored(ProcessorName(layer.first)), layer);
  }
  for (size_t i = 0; i < target.texts.size(); ++i) {
    components_.push_back(target.texts[i].component);
    for (const auto& layer : target.texts[i].layers) {
      std::string_view bare = layer.first;
      TakePrefix(bare, "text_model.");
      Add(1 + i, Underscored(layer.first), layer);
      Add(1 + i, Underscored(bare), layer);
    }
  }
}

void AdapterLayerNames::Add(size_t component, std::string alias,
                            const LayerShapes::value_type& layer) {
  if (alias.empty()) return;
  layers_[component].insert({std::move(alias), {layer.first, &layer.second, component}});
}

const AdapterLayerNames::Layer* AdapterLayerNames::Find(const AdapterTensorName& name) const {
  const auto component = std::find(components_.begin(), components_.end(), name.component);
  if (component == components_.end()) return nullptr;
  const auto& layers = layers_[static_cast<size_t>(component - components_.begin())];
  const auto found = layers.find(name.layer);
  return found == layers.end() ? nullptr : &found->second;
}

}  // namespace denoise
