// Which tensors of a single-file checkpoint in the original layout become which of a folder's
// parts. Reads names and shapes only, and needs no LibTorch.
//
//     model.diffusion_model.*                   the UNet
//     first_stage_model.*                       the VAE
//     cond_stage_model.transformer.*            the text encoder of Stable Diffusion 1.x
//     cond_stage_model.model.*                  that of 2.x, in OpenCLIP's layout
//     conditioner.embedders.0.transformer.*     the first one of XL
//     conditioner.embedders.1.model.*           the second one of XL, in OpenCLIP's layout
//     conditioner.embedders.0.model.*           the only one of XL's refiner
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/safetensors_header.h"
#include "core/pipeline/original_names.h"

namespace denoise {

// One family of single files.
struct SingleFileFamily {
  std::string_view name;  // "Stable Diffusion 2.x"

  struct Text {
    std::string_view prefix;  // of its names in the file
    std::string_view part;    // "text_encoder"
    bool is_open_clip = false;
    bool projection = false;   // whether the pooled text goes through one
    int64_t spare_layers = 0;  // at the end of the encoder, which the model does not use
  };
  std::vector<Text> texts;
  // The pipelines of the library whose folders hold such models; the first is the usual one.
  std::vector<std::string_view> pipelines;
};

struct TensorOrigin {
  std::string original;  // name in the file
  TensorForm form = TensorForm::kWhole;
};

using PartOrigins = std::map<std::string, TensorOrigin>;  // by name in the part

struct SingleFileLayout {
  const SingleFileFamily* family = nullptr;
  std::map<std::string, PartOrigins> parts;  // by name of the part: "unet", "vae", "text_encoder"
  int64_t unet_channels = 0;                 // of its input
  // The tensors that are no weights of the model, and how many. Names with dots are counted under
  // their first part ("model_ema."). Escaped.
  std::map<std::string, int64_t> ignored;
};

// `header` is hostile. InvalidArgument says what the file looks like if it is none of these
// families, or has a field violation per tensor that no part knows; 20 are named.
absl::StatusOr<SingleFileLayout> ReadSingleFileLayout(const SafetensorsHeader& header);

// Leaves out what a text encoder with `layers` layers, and with a projection or not, does not have:
// files of 2.x have a layer and a projection that the model does not use.
void KeepTextLayers(std::string_view part, int64_t layers, bool projection,
                    SingleFileLayout& layout);
// The same as the published models of the family have it.
void KeepUsedText(SingleFileLayout& layout);
// How many layers `part` has in the file.
int64_t CountTextLayers(const SingleFileLayout& layout, std::string_view part);

// How many numbers `part` has.
int64_t CountPartParameters(const SafetensorsHeader& header, const PartOrigins& part);

}  // namespace denoise
