// Names of tensors in the original code of Stable Diffusion (Rombach et al. 2022, CompVis and
// Stability AI), and what the diffusers library calls the same tensors. Pure functions of names:
// they see no values, and need no LibTorch.
//
// The original UNet numbers its blocks through, from the input to the output; the library counts
// levels, and layers within each. The original decoder counts its levels from the highest
// resolution, the library from the lowest. OpenCLIP keeps q, k and v of an attention in one matrix.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace denoise {

// How a tensor of the library is made of an original one.
enum class TensorForm {
  kWhole,
  kMatrix,      // without trailing dimensions of 1: a 1x1 convolution as a linear layer
  kTransposed,  // rows and columns exchanged
  kQuery,       // the first third of the rows
  kKey,         // the second
  kValue,       // the last
};

struct TranslatedName {
  std::string name;  // "down_blocks.0.resnets.1.conv1.weight"
  TensorForm form = TensorForm::kWhole;
};

// The names that a tensor becomes: three for q, k and v, else one. Empty: it is not one of the
// network's.
using TranslatedNames = std::vector<TranslatedName>;

// How many resnets each level of the down path has, from the highest resolution.
struct UNetLevels {
  std::vector<size_t> layers;
};

// Reads the levels off the names "input_blocks.3.0.op.weight", with which each but the last ends.
// nullopt: there are no input blocks, or more than a network has.
std::optional<UNetLevels> FindUNetLevels(const std::set<std::string>& names);
TranslatedNames TranslateUNetName(std::string_view name, const UNetLevels& levels);

// How many levels an autoencoder has, from the names "decoder.up.3.block.0.conv1.weight". 0: none,
// or more than one has.
size_t CountAutoencoderLevels(const std::set<std::string>& names);
TranslatedNames TranslateAutoencoderName(std::string_view name, size_t levels);

// A text encoder of the transformers library, which keeps its names. Old files lack the first part
// of them, "text_model.".
TranslatedNames TranslateClipName(std::string_view name);

// One of OpenCLIP, as a CLIPTextModelWithProjection.
TranslatedNames TranslateOpenClipName(std::string_view name);

// The number of the layer that a name of the library's text encoder belongs to. nullopt: none.
std::optional<size_t> TextLayerOf(std::string_view translated);

// What a text projection is called in the library's text encoder.
inline constexpr std::string_view kTextProjection = "text_projection.weight";

}  // namespace denoise
