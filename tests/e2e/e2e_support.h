// The programs under test, and folders of small models for them.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {

// Long enough for a sanitizer build on a busy machine; no test waits this long when all is well.
inline constexpr absl::Duration kPatience = absl::Minutes(3);

// The server and the client, as built.
std::string DenoisedBinary();
std::string DenoiseBinary();

// Asks again and again until `condition` holds; false when it does not within kPatience.
[[nodiscard]] bool Eventually(const std::function<bool()>& condition);

// A folder for --models with copies of the reference checkpoints, which load in no time.
class ModelsFolder {
 public:
  // "class-conditional-v" under the name "guided", with a class that stands for none, so that
  // guidance is possible. 16 x 16 RGB; classes "c0" to "c4"; 5 is the null class.
  ModelsFolder& AddGuided(const std::string& name = "guided");
  // The same with other contents of some files, by their paths in the folder.
  ModelsFolder& AddGuidedWith(std::map<std::string, std::string> changes, const std::string& name);

  // A reference checkpoint as it is, for example "resnet-resample" (16 x 16 RGB, no classes).
  ModelsFolder& AddReference(const std::string& reference, const std::string& name);

  // A small latent model, for example "sd15-like": Stable Diffusion's parts with random weights. 32
  // x 32 RGB and multiples of 2.
  ModelsFolder& AddPipeline(const std::string& pipeline);

  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  // The whole folder appears at once.
  ModelsFolder& Copy(const std::filesystem::path& from, const std::string& name,
                     const std::map<std::string, std::string>& changes = {});

  TempDir folder_;
};

// Runs the `denoise` client to its end. Fails the test, and returns an unclean exit, when it hangs.
ProcessResult RunDenoise(const std::vector<std::string>& arguments);

}  // namespace denoise
