#include "core/io/model_writer.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isfinite.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/atomic_folder.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/io/weights.h"

namespace denoise {
namespace {

absl::StatusOr<StateDict> Rounded(StateDict weights, at::ScalarType dtype) {
  for (auto& [name, weight] : weights) {
    const at::Tensor rounded = weight.to(dtype);
    if (at::isfinite(weight).logical_and(at::isfinite(rounded).logical_not()).any().item<bool>()) {
      return absl::FailedPreconditionError(
          absl::StrCat(name, " has a weight that is too large for this precision"));
    }
    weight = rounded;
  }
  return weights;
}

absl::Status WriteFiles(const AtomicFolder& folder, const ModelTexts& texts,
                        const StateDict& weights) {
  const ModelFileNames names;
  for (const char* component : {"unet", "scheduler"}) {
    RETURN_IF_ERROR(folder.MakeFolder(component));
  }
  for (const auto& [name, text] : {std::pair{names.model_index, &texts.model_index},
                                   {names.unet_config, &texts.unet_config},
                                   {names.scheduler_config, &texts.scheduler_config}}) {
    RETURN_IF_ERROR(InFile(name, WriteFileAtomically(folder.path() / name, *text)));
  }
  // Some of the library's loaders insist on being told who wrote the file.
  return InFile(kWeightsFile,
                WriteSafetensors(folder.path() / kWeightsFile, weights, {{"format", "pt"}}));
}

absl::Status Write(const std::filesystem::path& path, const ParsedModel& model,
                   at::ScalarType dtype) {
  ASSIGN_OR_RETURN(StateDict weights, model.LoadWeights());
  ASSIGN_OR_RETURN(weights, Rounded(std::move(weights), dtype));
  ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path));
  RETURN_IF_ERROR(WriteFiles(folder, model.texts(), weights));
  return folder.Commit();
}

}  // namespace

absl::Status WriteModel(const std::filesystem::path& folder, const ParsedModel& model,
                        at::ScalarType dtype) {
  return WithoutExceptions([&] { return Write(folder, model, dtype); });
}

}  // namespace denoise
