// The folder of --models on disk: what it holds, and how models get into it and out of it.
//
//     emoji-32/            a model; what has this name is complete, whenever the power fails
//     emoji-32@2/          its second version
//     .incoming/emoji-32/  a version being written and tried out
//     .replaced/emoji-32/  the version whose name it takes
//     .deleted/emoji-32/   a model being removed
//     .lock                held by the process that changes any of these; readers need no lock
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
#include "server/models/models_root.h"

namespace denoise {

// A Hugging Face cache is such a folder, too: its models--ORG--NAME is served as ORG--NAME, from
// the snapshot that refs/main names (models_root.h).
//
// Immutable and thread-safe. Several processes may install models into one folder. Repair, Install
// and Delete wait for each other and for other processes up to 20 s, then fail with Unavailable.
// Nothing else waits: what changes while it is read is read again.
class ModelsFolder {
 public:
  explicit ModelsFolder(std::filesystem::path root);

  // Repairs what a crash has left.
  absl::Status Repair() const;

  // The folders in the root, in order of name (ListModels). Hidden folders and files are skipped.
  // Fails only where the root cannot be read or is no folder of models; the message says what it
  // is.
  absl::StatusOr<std::vector<ModelEntry>> List() const;

  // Where the model's files are. NotFound; InvalidArgument where the folder is no model's.
  absl::StatusOr<std::filesystem::path> Find(const std::string& id) const;

  // Opens the model as it is now, with all files of one version. NotFound; InvalidArgument where
  // they are no model; Unavailable while they keep changing.
  absl::StatusOr<ParsedModel> Open(const std::string& id) const;

  // Writes a durable checkpoint folder at the path it is given, which does not exist but whose
  // parent does. WriteModel (core/io/model_writer.h) is one.
  using Writer = std::function<absl::Status(const std::filesystem::path& folder)>;
  // Loads what was written, before it takes the name.
  using Loader = std::function<absl::Status(const std::filesystem::path& folder)>;

  // Installs what `write` makes under the name `id`, once `load` has loaded it. InvalidArgument:
  // `id` is no model id, or the new version does not load. FailedPrecondition: the root cannot be
  // written to. Other errors come from `write` or the file system. After an error the folder has
  // the old version or, where the disk failed at the very end, the new one.
  absl::Status Install(const std::string& id, const Writer& write, const Loader& load) const;

  // Removes the model's folder, or the link to it. Errors of Find. FailedPrecondition: the root
  // cannot be written to, or the model is one of a Hugging Face cache, whose files others share.
  absl::Status Delete(const std::string& id) const;

 private:
  const std::filesystem::path root_;
};

}  // namespace denoise
