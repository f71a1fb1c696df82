// A model's folder, opened. Internal to core/io.
#pragma once

#include <exception>
#include <filesystem>

#include "absl/status/statusor.h"
#include "core/io/model_description.h"
#include "core/io/model_files.h"
#include "core/io/weights.h"

namespace denoise {

struct OpenedModel {
  ModelFiles files;  // the texts; its weights are empty
  ModelFileNames names;
  ModelDescription description;
  Weights weights;  // as they lie in the files
};

// Errors as LoadCheckpoint's.
absl::StatusOr<OpenedModel> OpenModel(const std::filesystem::path& folder);

// `load()`, or ResourceExhausted where a library throws: its texts may hold paths and stacks.
template <typename Load>
auto WithoutExceptions(const Load& load) -> decltype(load()) {
  try {
    return load();
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError("a library failed, most likely for want of memory");
  }
}

}  // namespace denoise
