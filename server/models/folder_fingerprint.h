// Notices that a model's files have changed without reading them. Internal to server/models.
#pragma once

#include <filesystem>
#include <string>

namespace denoise {

// Differs from an earlier one if one of the files that a model consists of has been added, removed,
// renamed, replaced or written to since, to the resolution of the file system's clock. These are
// the .json and .safetensors files in `folder` and in its sub-folders unet and scheduler; whatever
// else is there, such as a log that is being written, does not count. Follows links.
std::string FingerprintOf(const std::filesystem::path& folder);

}  // namespace denoise
