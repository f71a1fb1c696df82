// Derives classes from the folders of an upload. Internal to core/data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct FolderClasses {
  std::vector<std::string> names;  // by label, sorted; empty: there are no classes
  std::vector<int64_t> labels;     // by folder; 0 for those without pictures
};

// A picture's class is the folder directly above it. If all pictures lie in one folder, or in none,
// there are no classes. Not thread-safe.
class ClassFolders {
 public:
  ClassFolders(int64_t max_folders, int64_t max_classes)
      : max_folders_(max_folders), max_classes_(max_classes) {}

  // The number of a folder, from 0. InvalidArgument: there are too many folders.
  absl::StatusOr<int64_t> Find(const std::string& folder);
  void AddPicture(int64_t folder) { has_pictures_[static_cast<size_t>(folder)] = true; }

  // InvalidArgument, naming folders: there are too many classes; a folder has pictures both
  // directly in it and in folders below it, so the classes are ambiguous; or a folder meant as a
  // class has no picture, which would shift the labels of all classes after it.
  absl::StatusOr<FolderClasses> Resolve() const;

 private:
  bool HasPictures(const std::string& folder) const;
  absl::Status CheckFolder(const std::string& folder, const FolderClasses& classes) const;

  const int64_t max_folders_;
  const int64_t max_classes_;
  std::map<std::string, int64_t> numbers_;  // by folder
  std::vector<bool> has_pictures_;          // by number
};

}  // namespace denoise
