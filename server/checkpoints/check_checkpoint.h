// Finds out whether checkpoints would load, without a server.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {

struct PartReport {
  PartDescription part;
  // The dtypes of its weights in the files, as safetensors names them ("F16"). Empty where they
  // could not be read.
  std::vector<std::string> dtypes;
};

struct CheckpointReport {
  std::string name;         // of the folder or file, escaped
  absl::Status status;      // OK: it would load. Names files relative to the folder
  std::string family;       // "StableDiffusionPipeline / UNet2DConditionModel"; empty where unknown
  bool is_file = false;     // a single file, which must be converted before a server loads it
  bool names_only = false;  // a single file was checked without configurations, and not loaded
  std::vector<PartReport> parts;                   // empty where the configurations do not parse
  std::vector<std::string> ignored_keys;           // per file of configurations
  std::vector<std::string> ignored_parts;          // "safety_checker"
  std::map<std::string, int64_t> ignored_tensors;  // of a single file, as SingleFileLayout::ignored

  int64_t num_parameters() const;
  int64_t MemoryBytes(at::ScalarType dtype) const;  // of all weights
};

// Checks what is at `path`: a model's folder, a model of a Hugging Face cache, a folder of such
// folders, or a single file in the original layout. Loads each model on the CPU, one after the
// other, which takes the memory and the time that a server takes. Files are hostile.
//
// A single file is loaded with the configurations in the folder `configs`; without, the names of
// its tensors alone are checked. `configs` means nothing for folders.
std::vector<CheckpointReport> CheckCheckpoints(const std::filesystem::path& path,
                                               const std::optional<std::filesystem::path>& configs);

}  // namespace denoise
