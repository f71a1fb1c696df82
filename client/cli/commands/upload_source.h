// What `denoise datasets upload` sends, and what it calls it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/training_client.h"

namespace denoise {

// Not thread-safe.
class SizedSource : public UploadSource {
 public:
  // Of all of it, in bytes.
  virtual int64_t size() const = 0;
};

// A folder becomes a tar of its pictures, made while it is sent; a file is sent as it is. Prints to
// standard error how many files of a folder are left out. InvalidArgument, naming the path: it is
// neither, cannot be read, or is an empty file. Otherwise the errors of FolderTar::Open.
absl::StatusOr<std::unique_ptr<SizedSource>> OpenUploadSource(const std::string& path);

// What a data set made of `path` is called: "animals" for "data/animals.tar.gz", the folder's own
// name for "." and "..". May be no valid name, such as that of "/", which is empty.
std::string DataSetNameOf(const std::filesystem::path& path);

}  // namespace denoise
