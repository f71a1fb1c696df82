// What a path on this machine is to an upload.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/training_client.h"

namespace denoise {

// A folder becomes a tar of its pictures, made on the way; a file is sent as it is. InvalidArgument,
// naming the path, where it cannot be read.
absl::StatusOr<std::unique_ptr<UploadSource>> OpenUploadSource(const std::string& path);

}  // namespace denoise
