// Notices that files have changed without reading them. Internal to server/models.
#pragma once

#include <filesystem>
#include <string>

namespace denoise {

// Differs from an earlier one if a file in `folder` has been added, removed, renamed, replaced or
// written to since, to the resolution of the file system's clock. Follows links. Looks at a
// thousand files at most, four folders deep, as models have fewer.
std::string FingerprintOf(const std::filesystem::path& folder);

}  // namespace denoise
