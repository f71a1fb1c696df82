// Text encoders of the folders in tests/data/pipelines.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/io/safetensors.h"
#include "core/text/encoders/clip_text_encoder.h"
#include "tests/core/text/tokenizers/tokenizer_testing.h"

namespace denoise {

// The floating-point tensors of the folder's one weight file. (Old files hold an integer one.)
inline StateDict ReadTextWeights(const std::string& folder) {
  std::string path = folder + "/model.safetensors";
  if (!std::filesystem::exists(path)) path = folder + "/model.fp16.safetensors";
  const SafetensorsFile file = SafetensorsFile::Open(path).value();
  StateDict weights;
  for (const auto& [name, tensor] : file.header().tensors) {
    const auto read = file.Get(name);
    if (read.ok()) weights[name] = *read;
  }
  return weights;
}

inline ClipTextConfig ReadTextConfig(const std::string& folder) {
  return ParseClipTextConfig(ReadTestFile(folder + "/config.json")).value();
}

inline std::shared_ptr<const ClipTextEncoder> LoadTextEncoder(const std::string& folder) {
  return ClipTextEncoder::Create(ReadTextConfig(folder), ReadTextWeights(folder)).value();
}

}  // namespace denoise
