// The folder of --models on disk: what it holds when the server starts, and how a new version of a
// model gets into it.
//
//     emoji-32/            a model; what has this name is complete, whenever the power fails
//     .incoming/emoji-32/  a version being written and tried out
//     .replaced/emoji-32/  the version whose name it takes
//     .lock                held by the process that changes any of these
//
// A version is written, loaded and warmed up as .incoming/emoji-32. Then the old one is moved away,
// the new one moved in, and the old one removed. When a server starts it repairs what a crash has
// left: a replaced version gets its name back unless another one has it, and what else is in the
// hidden folders is removed.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"
#include "server/models/model.h"
#include "server/models/model_loader.h"
#include "server/models/model_repository.h"

namespace denoise {

// A folder that is not served, and why.
struct BrokenModel {
  std::string folder;  // its name, not its path; escaped
  absl::Status status;
};

struct LoadedModels {
  std::vector<ModelHandle> models;  // in order of id
  std::vector<BrokenModel> broken;
};

// A Hugging Face cache is such a folder, too: its models--ORG--NAME is served as ORG--NAME, from
// the snapshot that refs/main names (models_root.h).
//
// Immutable and thread-safe. Several processes may install models into one folder; they wait for
// each other.
class ModelsFolder {
 public:
  ModelsFolder(std::filesystem::path root, ModelLoadOptions options);

  // Repairs what a crash has left, then loads every folder in the root in order of name. Hidden
  // folders and files are skipped; a folder that is broken, or whose name is not a valid model id,
  // is reported and not served, as are links that lead nowhere. Fails only where the root cannot be
  // read or is no folder of models; the message says what it is.
  absl::StatusOr<LoadedModels> Load() const;

  // Opens the model as it is now, with all files of one version. NotFound; InvalidArgument where
  // they are no model.
  absl::StatusOr<ParsedModel> Open(const std::string& id) const;

  // Writes a durable checkpoint folder at the path it is given, which does not exist but whose
  // parent does. WriteModel (core/io/model_writer.h) is one.
  using Writer = std::function<absl::Status(const std::filesystem::path& folder)>;

  // Installs what `write` makes under the name `id`, and publishes it in `models` once it has been
  // loaded and warmed up, which takes a while. InvalidArgument: `id` is no model id, or the new
  // version does not load. FailedPrecondition: the root cannot be written to. Other errors come
  // from `write` or the file system. After an error `models` is unchanged, and the folder has the
  // old version or, where the disk failed at the very end, the new one.
  absl::StatusOr<ModelHandle> Install(const std::string& id, const Writer& write,
                                      ModelRepository& models) const;

 private:
  const std::filesystem::path root_;
  const ModelLoadOptions options_;
};

}  // namespace denoise
