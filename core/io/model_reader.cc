#include "core/io/model_reader.h"

#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "core/io/model_folder.h"

namespace denoise {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

// Components lie in folders of their own or, as in the oldest checkpoints, in the root.
std::string ComponentPrefix(const ModelFolder& folder, const std::string& component) {
  return folder.HasFolder(component) ? component + "/" : "";
}

}  // namespace

absl::StatusOr<OpenedModel> OpenModel(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  const std::string unet_prefix = ComponentPrefix(folder, "unet");
  OpenedModel model;
  model.names.unet_config = unet_prefix + "config.json";
  model.names.scheduler_config = ComponentPrefix(folder, "scheduler") + "scheduler_config.json";
  for (const auto& [text, name] : {std::pair{&model.files.model_index, model.names.model_index},
                                   {&model.files.unet_config, model.names.unet_config},
                                   {&model.files.scheduler_config, model.names.scheduler_config}}) {
    ASSIGN_OR_RETURN(*text, folder.ReadText(name, kMaxConfigBytes));
  }
  ASSIGN_OR_RETURN(model.description, DescribeModel(model.files, model.names));
  ASSIGN_OR_RETURN(model.weights, LoadWeights(folder, unet_prefix));
  return model;
}

}  // namespace denoise
