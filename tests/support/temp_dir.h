// A temporary folder.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace denoise {

// Creates a new folder in the system's temporary folder, and removes it with everything in it when
// destroyed. Aborts if that is impossible, since no test can continue.
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

// Read and write whole files. Abort if that fails.
std::string ReadFile(const std::filesystem::path& path);
void WriteFile(const std::filesystem::path& path, std::string_view bytes);

}  // namespace denoise
