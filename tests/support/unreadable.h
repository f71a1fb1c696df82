// What cannot be read for a while, also by root: as on a disk that fails, or with wrong permissions.
#pragma once

#include <sys/resource.h>

#include <filesystem>
#include <utility>

#include "tests/support/temp_dir.h"

namespace denoise {

// Puts a link to itself in the place of a file or folder (ELOOP), and puts that back.
class Unreadable {
 public:
  explicit Unreadable(std::filesystem::path path)
      : path_(std::move(path)), kept_(elsewhere_.path() / "kept") {
    std::filesystem::rename(path_, kept_);
    std::filesystem::create_symlink(path_.filename(), path_);
  }
  ~Unreadable() {
    std::filesystem::remove(path_);
    std::filesystem::rename(kept_, path_);
  }
  Unreadable(const Unreadable&) = delete;
  Unreadable& operator=(const Unreadable&) = delete;

 private:
  const TempDir elsewhere_;
  const std::filesystem::path path_;
  const std::filesystem::path kept_;
};

// The process can open no further file (EMFILE).
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none = {0, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_;
};

}  // namespace denoise
