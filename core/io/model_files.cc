#include "core/io/model_files.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isfinite.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/atomic_folder.h"
#include "core/io/model_description.h"
#include "core/io/model_folder.h"
#include "core/io/model_reader.h"
#include "core/io/safetensors.h"
#include "core/nn/unet2d.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kWeightsFile[] = "unet/diffusion_pytorch_model.safetensors";

absl::StatusOr<StateDict> Canonical(const UNet2DConfig& config, const StateDict& weights,
                                    const std::string& file) {
  absl::StatusOr<StateDict> canonical = CanonicalUNet2DWeights(config, weights);
  if (!canonical.ok()) return InFile(file, canonical.status());
  return canonical;
}

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

absl::StatusOr<ModelFiles> Load(const fs::path& folder) {
  ASSIGN_OR_RETURN(OpenedModel model, OpenModel(folder));
  ASSIGN_OR_RETURN(model.files.weights,
                   Canonical(model.description.unet, model.weights.tensors, model.weights.file));
  return std::move(model.files);
}

absl::Status WriteTo(const AtomicFolder& folder, const ModelFiles& files,
                     const StateDict& weights) {
  const ModelFileNames names;
  for (const char* component : {"unet", "scheduler"}) {
    RETURN_IF_ERROR(folder.MakeFolder(component));
  }
  for (const auto& [name, text] : {std::pair{names.model_index, &files.model_index},
                                   {names.unet_config, &files.unet_config},
                                   {names.scheduler_config, &files.scheduler_config}}) {
    RETURN_IF_ERROR(InFile(name, WriteFileAtomically(folder.path() / name, *text)));
  }
  // Some of the library's loaders insist on being told who wrote the file.
  return InFile(kWeightsFile,
                WriteSafetensors(folder.path() / kWeightsFile, weights, {{"format", "pt"}}));
}

absl::Status Write(const fs::path& path, const ModelFiles& files, at::ScalarType dtype) {
  ASSIGN_OR_RETURN(const ModelDescription description, DescribeModel(files));
  ASSIGN_OR_RETURN(StateDict weights, Canonical(description.unet, files.weights, kWeightsFile));
  ASSIGN_OR_RETURN(weights, Rounded(std::move(weights), dtype));
  ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path));
  RETURN_IF_ERROR(WriteTo(folder, files, weights));
  return folder.Commit();
}

}  // namespace

absl::StatusOr<ModelFiles> LoadModelFiles(const fs::path& folder) {
  return WithoutExceptions([&] { return Load(folder); });
}

absl::Status WriteModelFiles(const fs::path& folder, const ModelFiles& files,
                             at::ScalarType dtype) {
  return WithoutExceptions([&] { return Write(folder, files, dtype); });
}

}  // namespace denoise
