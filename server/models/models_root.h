// What lies in a models folder: model folders, and the models of a Hugging Face cache, whose files
// are behind links.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace denoise {

// A model, or what stands in the place of one.
struct ModelEntry {
  std::filesystem::path path;
  std::string name;  // of the folder, escaped, to be shown
  std::string id;    // to be served under; empty if its name is no id, or taken
  absl::StatusOr<std::filesystem::path> folder;  // or why it is not one, in terms of `name`
};

// What the names of folders in a Hugging Face cache begin with.
// https://huggingface.co/docs/huggingface_hub/guides/manage-cache
inline constexpr std::string_view kCachedModel = "models--";

// False also where nobody may look.
bool IsFolder(const std::filesystem::path& path);

// Whether anything has this name, even a link that leads nowhere.
bool HasName(const std::filesystem::path& path);

// The names of the entries of `folder` that are not hidden, in order.
absl::StatusOr<std::vector<std::string>> VisibleNames(const std::filesystem::path& folder);

// The folders and broken links in `root` that are not hidden, in order of name. The entry
// models--ORG--NAME of a cache is the model ORG--NAME, in the snapshot that its refs/main names.
//
// NotFound: `root` does not exist. InvalidArgument says what else it is: a file, a model's own
// folder, one model of a cache. Messages never contain a path.
absl::StatusOr<std::vector<ModelEntry>> ListModels(const std::filesystem::path& root);

// What `root`, in which ListModels finds nothing, is or holds: "is empty". The end of a sentence.
std::string WhatIsInPlaceOfModels(const std::filesystem::path& root);

// `folder`, or the snapshot that it holds in the layout of a Hugging Face cache. Errors say what is
// wrong with a cached folder.
absl::StatusOr<std::filesystem::path> FollowCache(const std::filesystem::path& folder);

// Where the files of the model in `folder` are: there, or in the snapshot of a cached model. The
// error of a folder that is no model says what else it is.
absl::StatusOr<std::filesystem::path> FindModelFiles(const std::filesystem::path& folder);

// Where the files of the model `id` are. NotFound: no such model, or no valid id.
absl::StatusOr<std::filesystem::path> FindModel(const std::filesystem::path& root,
                                                const std::string& id);

}  // namespace denoise
