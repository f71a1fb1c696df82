// The folder of --models on disk: what it holds when the server starts, and how a new version of a
// model gets into it.
//
//     emoji-32/            a model; what has this name is complete, whenever the power fails
//     .incoming/emoji-32/  a version being written and tried out
//     .replaced/emoji-32/  the version whose name it takes
//     .lock                held by the process that changes any of these
//
// A version is written, loaded and warmed up as .incoming/emoji-32. Then the old one is moved away,
// the new one moved in, and the old one removed. A server that starts puts right what a crash has
// left: a replaced version whose name nobody has gets it back, the rest of the hidden folders goes.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/model_files.h"
#include "server/models/model.h"
#include "server/models/model_loader.h"
#include "server/models/model_repository.h"

namespace denoise {

// A folder that is left out, and why.
struct BrokenModel {
  std::string folder;  // its name, not its path
  absl::Status status;
};

struct LoadedModels {
  std::vector<ModelHandle> models;  // in order of id
  std::vector<BrokenModel> broken;
};

// Immutable and thread-safe. Processes that share the folder may install models, too: they wait for
// each other.
class ModelsFolder {
 public:
  ModelsFolder(std::filesystem::path root, ModelLoadOptions options);

  // Loads every folder in the root in order of name, after putting right what a crash has left.
  // Hidden folders and files are passed over; a folder that is broken, or whose name is not a valid
  // model id, is reported and left out. Fails only where the root cannot be read.
  absl::StatusOr<LoadedModels> Load() const;

  // The files of a model as they are now: all of one version. NotFound; InvalidArgument where they are
  // no model (core/io/model_files.h).
  absl::StatusOr<ModelFiles> Read(const std::string& id) const;

  // Makes a durable checkpoint folder of the path it is given, which does not exist but whose parent
  // does: WriteModelFiles (core/io/model_files.h).
  using Writer = std::function<absl::Status(const std::filesystem::path& folder)>;

  // Puts what `write` makes under the name `id` and publishes it in `models`, once it has been
  // loaded and warmed up. Takes as long as that takes. InvalidArgument: `id` is no model id, or the
  // new version does not load. FailedPrecondition: the root cannot be written to. Other errors come
  // from `write` or the file system. After an error `models` is as it was, and the folder has the
  // old version or, where the disk failed at the very end, the new one.
  absl::StatusOr<ModelHandle> Install(const std::string& id, const Writer& write,
                                      ModelRepository& models) const;

 private:
  const std::filesystem::path root_;
  const ModelLoadOptions options_;
};

}  // namespace denoise
