// Derives classes from the folders of an upload. Internal to core/data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
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
  // Remembers why the first file of a folder is not a picture, for the message. Without a `file`,
  // the reason is that of the folder itself.
  void AddOtherFile(int64_t folder, const std::string& file, const std::string& reason) {
    first_problems_.try_emplace(folder, file, reason);
  }

  // InvalidArgument, naming folders: there are too many classes; a folder has pictures both
  // directly in it and in folders below it, so the classes are ambiguous; or folders meant as
  // classes have no picture, which would shift the labels of all classes after them.
  absl::StatusOr<FolderClasses> Resolve() const;

 private:
  bool HasPictures(const std::string& folder) const;
  absl::Status CheckFolders(const FolderClasses& classes) const;
  absl::Status CheckFolder(const std::string& folder) const;
  // Whether a folder that has files but no pictures was meant as a class.
  bool IsEmptyClass(const std::string& folder, const FolderClasses& classes) const;
  std::string DescribeEmptyClass(const std::string& folder) const;

  const int64_t max_folders_;
  const int64_t max_classes_;
  std::map<std::string, int64_t> numbers_;                                 // by folder
  std::vector<bool> has_pictures_;                                         // by number
  std::map<int64_t, std::pair<std::string, std::string>> first_problems_;  // by number
};

}  // namespace denoise
