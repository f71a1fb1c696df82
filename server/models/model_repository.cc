#include "server/models/model_repository.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

absl::StatusOr<std::vector<std::filesystem::path>> VisibleFolders(
    const std::filesystem::path& root) {
  std::error_code error;
  std::vector<std::filesystem::path> folders;
  std::filesystem::directory_iterator entries(root, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    std::error_code ignored;  // an entry that cannot be looked at is no folder
    const bool hidden = entries->path().filename().string().starts_with('.');
    if (!hidden && entries->is_directory(ignored)) folders.push_back(entries->path());
  }
  if (error) {
    return absl::NotFoundError(absl::StrCat("cannot read the models folder: ", error.message()));
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

ModelRepository::ModelRepository(std::vector<ModelHandle> models) {
  for (ModelHandle& model : models) {
    std::string id = model->id;
    models_.emplace(std::move(id), std::move(model));
  }
}

absl::StatusOr<ModelRepository> ModelRepository::Load(const std::filesystem::path& root,
                                                      const ModelLoadOptions& options) {
  ASSIGN_OR_RETURN(const auto folders, VisibleFolders(root));
  ModelRepository repository;
  for (const auto& folder : folders) repository.LoadFolder(folder, options);
  return repository;
}

void ModelRepository::LoadFolder(const std::filesystem::path& folder,
                                 const ModelLoadOptions& options) {
  std::string id = folder.filename().string();
  if (!IsValidModelId(id)) {
    broken_.push_back(
        {id, absl::InvalidArgumentError("a model's name is letters, digits and ._-")});
    return;
  }
  absl::StatusOr<ModelHandle> model = LoadModel(folder, id, options);
  if (!model.ok()) {
    broken_.push_back({std::move(id), model.status()});
    return;
  }
  models_.emplace(std::move(id), *std::move(model));
}

ModelHandle ModelRepository::Find(std::string_view id) const {
  const auto model = models_.find(id);
  return model == models_.end() ? nullptr : model->second;
}

std::vector<ModelHandle> ModelRepository::ListAfter(std::string_view id, size_t limit) const {
  std::vector<ModelHandle> listed;
  for (auto model = models_.upper_bound(id); model != models_.end() && listed.size() < limit;
       ++model) {
    listed.push_back(model->second);
  }
  return listed;
}

}  // namespace denoise
