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

std::optional<StateManifest> ReadStateManifest(const std::filesystem::path& folder) {
  const auto file = FileContent::Read(folder / kManifestName);
  if (!file.ok()) return std::nullopt;
  auto manifest = DecodeStateManifest((*file)->bytes());
  return manifest.ok() ? std::optional(*std::move(manifest)) : std::nullopt;
}

}  // namespace denoise
