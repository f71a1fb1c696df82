#include "core/pipeline/original_names.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace denoise {
namespace {

// More than any network has; keeps what hostile names ask for small.
constexpr size_t kMaxBlocks = 256;
constexpr size_t kMaxLevels = 16;

// Takes a name apart from the front.
class NameReader {
 public:
  explicit NameReader(std::string_view name) : rest_(name) {}

  std::string_view rest() const { return rest_; }

  bool Take(std::string_view prefix) {
    if (!rest_.starts_with(prefix)) return false;
    rest_.remove_prefix(prefix.size());
    return true;
  }

  // A number and the dot behind it.
  std::optional<size_t> TakeNumber() {
    size_t number = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc() || number >= kMaxBlocks) return std::nullopt;
    const auto digits = static_cast<size_t>(end - rest_.data());
    const bool has_leading_zero = digits > 1 && rest_.front() == '0';
    if (has_leading_zero || digits == rest_.size() || rest_[digits] != '.') return std::nullopt;
    rest_.remove_prefix(digits + 1);
    return number;
  }

 private:
  std::string_view rest_;
};

// A layer, which has a weight and most often a bias.
struct Renamed {
  std::string_view original;
  std::string_view library;
  TensorForm form = TensorForm::kWhole;
};

// The layer "norm_out" of "norm_out.weight", and "weight".
std::pair<std::string_view, std::string_view> SplitLeaf(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {name, {}};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

// `name`, a tensor of one of the layers in `table`, with `prefix` before its new name.
template <size_t N>
TranslatedNames Rename(std::string_view name, const Renamed (&table)[N],
                       const std::string& prefix = "") {
  const auto [layer, leaf] = SplitLeaf(name);
  if (leaf != "weight" && leaf != "bias") return {};
  for (const Renamed& entry : table) {
    if (entry.original != layer) continue;
    std::string renamed = prefix;
    renamed.append(entry.library).append(".").append(leaf);
    const bool is_vector = leaf == "bias";
    return {{std::move(renamed), is_vector ? TensorForm::kWhole : entry.form}};
  }
  return {};
}

// `name` as it is, with `prefix` before it.
TranslatedNames Keep(std::string_view name, const std::string& prefix) {
  return {{prefix + std::string(name)}};
}

std::string Indexed(std::string_view first, size_t i, std::string_view second, size_t j) {
  return std::string(first) + "." + std::to_string(i) + "." + std::string(second) + "." +
         std::to_string(j) + ".";
}

TranslatedNames TranslateResnet(std::string_view name, const std::string& prefix) {
  static constexpr Renamed kLayers[] = {
      {"in_layers.0", "norm1"},  {"in_layers.2", "conv1"},  {"emb_layers.1", "time_emb_proj"},
      {"out_layers.0", "norm2"}, {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"},
  };
  return Rename(name, kLayers, prefix);
}

// A transformer's layers have the same names in both.
TranslatedNames TranslateTransformer(std::string_view name, const std::string& prefix) {
  for (const std::string_view part : {"norm.", "proj_in.", "proj_out.", "transformer_blocks."}) {
    if (name.starts_with(part)) return Keep(name, prefix);
  }
  return {};
}

TranslatedNames TranslateInputBlock(NameReader name, const UNetLevels& levels) {
  const auto block = name.TakeNumber(), part = name.TakeNumber();
  if (!block || !part) return {};
  if (*block == 0) return *part == 0 ? Keep(name.rest(), "conv_in.") : TranslatedNames();
  size_t first = 1;  // block of the level
  for (size_t level = 0; level < levels.layers.size(); ++level) {
    const size_t layer = *block - first, layers = levels.layers[level];
    if (layer < layers) {
      if (*part == 0) {
        return TranslateResnet(name.rest(), Indexed("down_blocks", level, "resnets", layer));
      }
      if (*part != 1) return {};
      return TranslateTransformer(name.rest(), Indexed("down_blocks", level, "attentions", layer));
    }
    if (layer == layers) {
      if (*part != 0 || !name.Take("op.")) return {};
      return Keep(name.rest(), Indexed("down_blocks", level, "downsamplers", 0) + "conv.");
    }
    first += layers + 1;
  }
  return {};
}

TranslatedNames TranslateMiddleBlock(NameReader name) {
  const auto part = name.TakeNumber();
  if (!part) return {};
  if (*part == 0) return TranslateResnet(name.rest(), "mid_block.resnets.0.");
  if (*part == 1) return TranslateTransformer(name.rest(), "mid_block.attentions.0.");
  if (*part == 2) return TranslateResnet(name.rest(), "mid_block.resnets.1.");
  return {};
}

// Up blocks have one layer more than the down block of their level.
TranslatedNames TranslateOutputBlock(NameReader name, const UNetLevels& levels) {
  const auto block = name.TakeNumber(), part = name.TakeNumber();
  if (!block || !part) return {};
  size_t first = 0;
  for (size_t up = 0; up < levels.layers.size(); ++up) {
    const size_t layer = *block - first;
    const size_t layers = levels.layers[levels.layers.size() - 1 - up] + 1;
    first += layers;
    if (layer >= layers) continue;
    if (*part == 0) return TranslateResnet(name.rest(), Indexed("up_blocks", up, "resnets", layer));
    // The upsampling stands behind a resnet, or behind its transformer if it has one.
    if (*part <= 2 && layer + 1 == layers && name.Take("conv.")) {
      return Keep(name.rest(), Indexed("up_blocks", up, "upsamplers", 0) + "conv.");
    }
    if (*part != 1) return {};
    return TranslateTransformer(name.rest(), Indexed("up_blocks", up, "attentions", layer));
  }
  return {};
}

TranslatedNames TranslateAutoencoderResnet(std::string_view name, const std::string& prefix) {
  static constexpr Renamed kLayers[] = {
      {"norm1", "norm1"},
      {"conv1", "conv1"},
      {"norm2", "norm2"},
      {"conv2", "conv2"},
      {"nin_shortcut", "conv_shortcut"},
  };
  return Rename(name, kLayers, prefix);
}

TranslatedNames TranslateAutoencoderMiddle(NameReader name, const std::string& prefix) {
  static constexpr Renamed kAttention[] = {
      {"norm", "group_norm"},
      {"q", "to_q", TensorForm::kMatrix},
      {"k", "to_k", TensorForm::kMatrix},
      {"v", "to_v", TensorForm::kMatrix},
      {"proj_out", "to_out.0", TensorForm::kMatrix},
  };
  if (name.Take("block_1.")) return TranslateAutoencoderResnet(name.rest(), prefix + "resnets.0.");
  if (name.Take("block_2.")) return TranslateAutoencoderResnet(name.rest(), prefix + "resnets.1.");
  if (name.Take("attn_1.")) return Rename(name.rest(), kAttention, prefix + "attentions.0.");
  return {};
}

// `side` is "encoder." or "decoder.".
TranslatedNames TranslateAutoencoderSide(NameReader name, const std::string& side, size_t levels) {
  static constexpr Renamed kEnds[] = {
      {"conv_in", "conv_in"}, {"norm_out", "conv_norm_out"}, {"conv_out", "conv_out"}};
  if (name.Take("mid.")) return TranslateAutoencoderMiddle(name, side + "mid_block.");
  const bool encodes = side == "encoder.";
  if (!name.Take(encodes ? "down." : "up.")) return Rename(name.rest(), kEnds, side);
  const auto number = name.TakeNumber();
  if (!number || *number >= levels) return {};
  const size_t level = encodes ? *number : levels - 1 - *number;
  const std::string blocks = side + (encodes ? "down_blocks" : "up_blocks");
  if (name.Take("block.")) {
    const auto layer = name.TakeNumber();
    if (!layer) return {};
    return TranslateAutoencoderResnet(name.rest(), Indexed(blocks, level, "resnets", *layer));
  }
  if (!name.Take(encodes ? "downsample.conv." : "upsample.conv.")) return {};
  return Keep(name.rest(),
              Indexed(blocks, level, encodes ? "downsamplers" : "upsamplers", 0) + "conv.");
}

TranslatedNames TranslateOpenClipLayer(std::string_view name, const std::string& prefix) {
  static constexpr Renamed kLayers[] = {
      {"ln_1", "layer_norm1"},   {"attn.out_proj", "self_attn.out_proj"},
      {"mlp.c_fc", "mlp.fc1"},   {"ln_2", "layer_norm2"},
      {"mlp.c_proj", "mlp.fc2"},
  };
  for (const std::string leaf : {"weight", "bias"}) {
    if (name != "attn.in_proj_" + leaf) continue;
    return {{prefix + "self_attn.q_proj." + leaf, TensorForm::kQuery},
            {prefix + "self_attn.k_proj." + leaf, TensorForm::kKey},
            {prefix + "self_attn.v_proj." + leaf, TensorForm::kValue}};
  }
  return Rename(name, kLayers, prefix);
}

}  // namespace

std::optional<UNetLevels> FindUNetLevels(const std::set<std::string>& names) {
  std::set<size_t> blocks, ends;
  for (const std::string& text : names) {
    NameReader name(text);
    if (!name.Take("input_blocks.")) continue;
    const auto block = name.TakeNumber();
    if (!block) return std::nullopt;
    blocks.insert(*block);
    if (name.rest() == "0.op.weight") ends.insert(*block);
  }
  if (blocks.empty() || ends.size() >= kMaxLevels) return std::nullopt;
  UNetLevels levels;
  size_t first = 1;
  for (const size_t end : ends) {
    if (end < first) return std::nullopt;
    levels.layers.push_back(end - first);
    first = end + 1;
  }
  const size_t beyond = *blocks.rbegin() + 1;
  if (beyond <= first) return std::nullopt;
  levels.layers.push_back(beyond - first);
  return levels;
}

TranslatedNames TranslateUNetName(std::string_view text, const UNetLevels& levels) {
  static constexpr Renamed kOthers[] = {
      {"time_embed.0", "time_embedding.linear_1"},
      {"time_embed.2", "time_embedding.linear_2"},
      {"time_embed.cond_proj", "time_embedding.cond_proj"},
      {"label_emb.0.0", "add_embedding.linear_1"},
      {"label_emb.0.2", "add_embedding.linear_2"},
      {"out.0", "conv_norm_out"},
      {"out.2", "conv_out"},
  };
  NameReader name(text);
  if (name.Take("input_blocks.")) return TranslateInputBlock(name, levels);
  if (name.Take("middle_block.")) return TranslateMiddleBlock(name);
  if (name.Take("output_blocks.")) return TranslateOutputBlock(name, levels);
  return Rename(text, kOthers);
}

size_t CountAutoencoderLevels(const std::set<std::string>& names) {
  size_t levels = 0;
  for (const std::string& text : names) {
    NameReader name(text);
    if (!name.Take("decoder.up.")) continue;
    if (const auto level = name.TakeNumber()) levels = std::max(levels, *level + 1);
  }
  return levels <= kMaxLevels ? levels : 0;
}

TranslatedNames TranslateAutoencoderName(std::string_view text, size_t levels) {
  static constexpr Renamed kOthers[] = {{"quant_conv", "quant_conv"},
                                        {"post_quant_conv", "post_quant_conv"}};
  NameReader name(text);
  if (name.Take("encoder.")) return TranslateAutoencoderSide(name, "encoder.", levels);
  if (name.Take("decoder.")) return TranslateAutoencoderSide(name, "decoder.", levels);
  return Rename(text, kOthers);
}

TranslatedNames TranslateClipName(std::string_view name) {
  if (name.starts_with("text_model.") || name == kTextProjection) return Keep(name, "");
  for (const std::string_view part : {"embeddings.", "encoder.", "final_layer_norm."}) {
    if (name.starts_with(part)) return Keep(name, "text_model.");
  }
  return {};
}

TranslatedNames TranslateOpenClipName(std::string_view text) {
  if (text == "token_embedding.weight") {
    return {{"text_model.embeddings.token_embedding.weight"}};
  }
  if (text == "positional_embedding") {
    return {{"text_model.embeddings.position_embedding.weight"}};
  }
  if (text == "text_projection") return {{std::string(kTextProjection), TensorForm::kTransposed}};
  NameReader name(text);
  if (name.Take("ln_final.")) return Keep(name.rest(), "text_model.final_layer_norm.");
  if (!name.Take("transformer.resblocks.")) return {};
  const auto layer = name.TakeNumber();
  if (!layer) return {};
  return TranslateOpenClipLayer(name.rest(),
                                "text_model.encoder.layers." + std::to_string(*layer) + ".");
}

std::optional<size_t> TextLayerOf(std::string_view translated) {
  NameReader name(translated);
  if (!name.Take("text_model.encoder.layers.")) return std::nullopt;
  return name.TakeNumber();
}

}  // namespace denoise
