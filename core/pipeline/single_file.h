// The weights of a whole model in one file, in the original layout (single_file_layout.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/safetensors.h"
#include "core/io/weights.h"
#include "core/nn/stored_tensor.h"
#include "core/pipeline/single_file_layout.h"

namespace denoise {

// The tensors of a part under the names of the diffusers and transformers libraries, with the
// dtypes of the file. InvalidArgument names a tensor of a dtype that holds no weights.
absl::StatusOr<StoredTensors> PartTensors(const SafetensorsFile& file, const PartOrigins& origins);

// What the configurations beside a file say, where the file does not tell.
struct SingleFileConfigs {
  std::string pipeline;       // the library's class
  int64_t unet_channels = 0;  // of its input
  struct Text {
    std::string part;  // "text_encoder"
    int64_t layers = 0;
    bool projection = false;
  };
  std::vector<Text> texts;
};

// Weights by part: "unet", "vae", "text_encoder". `layout` is that of `file`, and `name` the file's
// for errors. InvalidArgument: the configurations are of another family, or the parts differ.
absl::StatusOr<std::map<std::string, Weights>> LoadSingleFile(const SafetensorsFile& file,
                                                              SingleFileLayout layout,
                                                              const SingleFileConfigs& configs,
                                                              const std::string& name);

}  // namespace denoise
