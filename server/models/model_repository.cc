#include "server/models/model_repository.h"

#include <utility>

namespace denoise {

ModelRepository::ModelRepository(std::vector<ModelHandle> models, SizeListener on_size)
    : on_size_(std::move(on_size)) {
  for (ModelHandle& model : models) {
    std::string id = model->id;
    models_.insert_or_assign(std::move(id), std::move(model));
  }
  if (on_size_) on_size_(models_.size());
}

void ModelRepository::Publish(ModelHandle model) {
  std::string id = model->id;
  const MutexLock lock(mutex_);
  // The parameter keeps the replaced model, so that its weights are freed without the lock.
  models_[std::move(id)].swap(model);
  if (on_size_) on_size_(models_.size());
}

ModelHandle ModelRepository::Find(std::string_view id) const {
  const MutexLock lock(mutex_);
  const auto model = models_.find(id);
  return model == models_.end() ? nullptr : model->second;
}

std::vector<ModelHandle> ModelRepository::ListAfter(std::string_view id, size_t limit) const {
  const MutexLock lock(mutex_);
  std::vector<ModelHandle> listed;
  for (auto model = models_.upper_bound(id); model != models_.end() && listed.size() < limit;
       ++model) {
    listed.push_back(model->second);
  }
  return listed;
}

size_t ModelRepository::size() const {
  const MutexLock lock(mutex_);
  return models_.size();
}

}  // namespace denoise
