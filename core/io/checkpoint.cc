#include "core/io/checkpoint.h"

#include <utility>

#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/io/weights.h"

namespace denoise {
namespace {

constexpr size_t kVersionDigits = 32;  // 128 bits

absl::StatusOr<Checkpoint> Load(const ParsedModel& model, const UNet2DOptions& options) {
  ASSIGN_OR_RETURN(auto network, LoadNetwork(model, options));
  ASSIGN_OR_RETURN(std::string version, VersionOf(model));
  return Checkpoint{model.description(), std::move(network), std::move(version)};
}

}  // namespace

absl::StatusOr<Checkpoint> LoadCheckpoint(const std::filesystem::path& folder,
                                          const UNet2DOptions& options) {
  ASSIGN_OR_RETURN(const ParsedModel model, ParsedModel::Open(folder));
  return WithoutExceptions([&] { return Load(model, options); });
}

absl::StatusOr<std::shared_ptr<const Network>> LoadNetwork(const ParsedModel& model,
                                                           const UNet2DOptions& options,
                                                           const Placement& placement) {
  return InFile(model.weights().file, CreateUNet2D(model.description().unet,
                                                   model.weights().tensors, options, placement));
}

absl::StatusOr<std::string> VersionOf(const ParsedModel& model) {
  Sha256 hash;
  hash.AddPart(model.names().model_index, model.texts().model_index);
  hash.AddPart(model.names().unet_config, model.texts().unet_config);
  hash.AddPart(model.names().scheduler_config, model.texts().scheduler_config);
  for (const auto& [name, file] : model.weights().files) {
    RETURN_IF_ERROR(InFile(name, file.AddTo(hash, name)));
  }
  return hash.Finish().substr(0, kVersionDigits);
}

}  // namespace denoise
