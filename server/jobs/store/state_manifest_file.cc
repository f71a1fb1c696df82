#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/file_content.h"
#include "server/jobs/store/files.h"
#include "server/jobs/store/state_manifest.h"

namespace denoise {
namespace {

constexpr char kManifestName[] = "manifest.json";

}  // namespace

absl::Status WriteStateManifest(const std::filesystem::path& folder,
                                const StateManifest& manifest) {
  return DiskStatus(WriteFileAtomically(folder / kManifestName, EncodeStateManifest(manifest)));
}

absl::StatusOr<std::optional<StateManifest>> ReadStateManifest(
    const std::filesystem::path& folder) {
  const auto file = FileContent::Read(folder / kManifestName);
  const bool is_none = absl::IsNotFound(file.status()) || absl::IsInvalidArgument(file.status()) ||
                       absl::IsFailedPrecondition(file.status());  // of a file, not of a folder
  if (is_none) return std::nullopt;
  RETURN_IF_ERROR(DiskStatus(file.status()));
  auto manifest = DecodeStateManifest((*file)->bytes());
  return manifest.ok() ? std::optional(*std::move(manifest)) : std::nullopt;
}

}  // namespace denoise
