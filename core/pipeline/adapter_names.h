// The names that files of adapters give to a model's layers.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/nn/layer_shapes.h"

namespace denoise {

// The layers of one model that adapters can change.
struct AdapterTarget {
  struct Text {
    std::string component;  // "text_encoder" or "text_encoder_2"
    LayerShapes layers;
  };
  LayerShapes network;
  std::vector<Text> texts;  // in the pipeline's order
  std::string signature;    // SignatureOf the above
};

// A short text that is the same for models whose layers have the same names and shapes: an adapter
// of one is an adapter of the other.
std::string SignatureOf(const AdapterTarget& target);

// What a tensor of a file is to its layer.
enum class AdapterPart { kDown, kUp, kAlpha };

// A name of a tensor, taken apart: "unet.mid_block.attentions.0.proj_in.lora_A.weight".
struct AdapterTensorName {
  std::string component;  // "unet", "text_encoder" or "text_encoder_2"
  std::string layer;      // as the file has it, with underscores instead of dots
  AdapterPart part = AdapterPart::kDown;
};

// nullopt: a name of no known form. A name without a component is one of the network.
std::optional<AdapterTensorName> ParseAdapterTensorName(std::string_view name);

// If `name` belongs to another kind of adapter, what that is called: "LoHa".
std::optional<std::string_view> OtherAdapterKind(std::string_view name);

// Finds layers by any of their names with underscores in place of dots, which are the library's
// own, those of the code that the models were first trained with ("input_blocks_3_1_proj_in"), and
// those of text encoders without "text_model". Names are compared and never split, because both
// names and separators contain underscores.
class AdapterLayerNames {
 public:
  explicit AdapterLayerNames(const AdapterTarget& target);

  struct Layer {
    std::string_view name;              // in the target
    const std::vector<int64_t>* shape;  // of its weight
    size_t component;                   // 0: the network; 1 + i: text encoder i
  };
  // Null: the model has no such layer. The target outlives the result.
  const Layer* Find(const AdapterTensorName& name) const;

 private:
  void Add(size_t component, std::string alias, const LayerShapes::value_type& layer);

  std::vector<std::string> components_;
  std::vector<std::map<std::string, Layer, std::less<>>> layers_;  // of each component, by alias
};

}  // namespace denoise
