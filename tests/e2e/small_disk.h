// A disk that a test can fill.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "tests/support/temp_dir.h"

namespace denoise {

// A file system in memory, mounted where only this thread, those that it starts, and the programs
// that they start see it.
class SmallDisk {
 public:
  // Null where this process may not mount: it takes root, or user namespaces. Called before the
  // process has other threads.
  static std::unique_ptr<SmallDisk> Mount(int64_t bytes);
  ~SmallDisk();

  const std::filesystem::path& path() const { return folder_.path(); }

  // Takes all but about `bytes_left`, and gives them back.
  void Fill(int64_t bytes_left);
  void MakeRoom();

 private:
  SmallDisk() = default;

  int64_t Room() const;  // in bytes

  const TempDir folder_;
  bool mounted_ = false;
  int64_t size_ = 0;  // of what takes the room
};

}  // namespace denoise
