// A folder that lives as long as the object.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace denoise {

// Creates a folder of its own in the system's temporary folder, and removes it with everything in
// it. Aborts where that is impossible: no test can go on from there.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Whole files. A file that cannot be read or written aborts.
std::string ReadFile(const std::filesystem::path& path);
void WriteFile(const std::filesystem::path& path, std::string_view bytes);

}  // namespace denoise
