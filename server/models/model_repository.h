// The models of a server: every folder under --models that loads.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/models/model.h"
#include "server/models/model_loader.h"

namespace denoise {

// A folder that is left out, and why.
struct BrokenModel {
  std::string folder;  // its name, not its path
  absl::Status status;
};

// Immutable after Load, thread-safe.
class ModelRepository {
 public:
  explicit ModelRepository(std::vector<ModelHandle> models = {});

  // Loads every folder in `root` in order of name. Hidden folders and files are passed over; a
  // folder that is broken, or whose name is not a valid model id, is reported in broken() and left
  // out. Fails only where `root` cannot be read.
  static absl::StatusOr<ModelRepository> Load(const std::filesystem::path& root,
                                              const ModelLoadOptions& options);

  // Null where there is none.
  ModelHandle Find(std::string_view id) const;

  // At most `limit` models whose id comes after `id`, in order; from the start where `id` is empty.
  std::vector<ModelHandle> ListAfter(std::string_view id, size_t limit) const;

  size_t size() const { return models_.size(); }
  const std::vector<BrokenModel>& broken() const { return broken_; }

 private:
  void LoadFolder(const std::filesystem::path& folder, const ModelLoadOptions& options);

  std::map<std::string, ModelHandle, std::less<>> models_;  // by id
  std::vector<BrokenModel> broken_;
};

}  // namespace denoise
