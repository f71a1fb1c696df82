#include "tests/e2e/e2e_support.h"

#include <gtest/gtest.h>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace denoise {
namespace {

constexpr char kPipelinesFolder[] = "tests/data/pipelines";
constexpr char kReferenceFolder[] = "tests/data/reference/unet";

constexpr char kGuidedModelIndex[] = R"({
  "_class_name": "DDPMPipeline",
  "_diffusers_version": "0.40.0",
  "scheduler": ["diffusers", "DDPMScheduler"],
  "unet": ["diffusers", "UNet2DModel"],
  "id2label": {"0": "c0", "1": "c1", "2": "c2", "3": "c3", "4": "c4"},
  "null_class_label": 5
})";

}  // namespace

std::string DenoisedBinary() { return DENOISED_BINARY; }
std::string DenoiseBinary() { return DENOISE_BINARY; }

bool Eventually(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

ModelsFolder& ModelsFolder::AddGuided(const std::string& name) { return AddGuidedWith({}, name); }

ModelsFolder& ModelsFolder::AddGuidedWith(std::map<std::string, std::string> changes,
                                          const std::string& name) {
  changes.emplace("model_index.json", kGuidedModelIndex);
  return Copy(std::filesystem::path(kReferenceFolder) / "class-conditional-v", name, changes);
}

ModelsFolder& ModelsFolder::AddReference(const std::string& reference, const std::string& name) {
  return Copy(std::filesystem::path(kReferenceFolder) / reference, name);
}

ModelsFolder& ModelsFolder::AddPipeline(const std::string& pipeline) {
  return Copy(std::filesystem::path(kPipelinesFolder) / pipeline, pipeline);
}

ModelsFolder& ModelsFolder::Copy(const std::filesystem::path& from, const std::string& name,
                                 const std::map<std::string, std::string>& changes) {
  const TempDir beside;  // a server that watches the folder must not read half a model
  const std::filesystem::path copy = beside.path() / "model";
  std::filesystem::copy(from, copy, std::filesystem::copy_options::recursive);
  // The checkpoints may lie on a read-only file system; the copies must be editable and removable.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(copy)) {
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_write,
                                 std::filesystem::perm_options::add);
  }
  for (const auto& [file, bytes] : changes) WriteFile(copy / file, bytes);
  std::filesystem::rename(copy, path() / name);
  return *this;
}

ProcessResult RunDenoise(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {DenoiseBinary()};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto result = RunProcess(argv, kPatience);
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    return {ExitStatus{.code = -1}, "", std::string(result.status().message())};
  }
  return *std::move(result);
}

}  // namespace denoise
