// Room on the disk that is kept back, so that something can still be deleted when the disk is full:
// the database has to write that it is gone before its files give room.
#pragma once

#include <filesystem>

namespace denoise {

// A file that holds nothing. Used by one thread at a time.
class DiskReserve {
 public:
  // Takes the room where there is some.
  explicit DiskReserve(std::filesystem::path path) : path_(std::move(path)) { Take(); }

  // Gives the room up until Take.
  void Release();
  // Takes it again; where the disk has less, nothing is kept.
  void Take();

 private:
  const std::filesystem::path path_;
};

}  // namespace denoise
