#include "core/data/class_folders.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// So many empty folders are named; a message is short.
constexpr size_t kMaxShownFolders = 5;

std::string ClassOf(const std::string& folder) {
  return folder.substr(folder.rfind('/') + 1);  // npos + 1 is 0
}

// "a" and "" for "a/b"; nothing for "".
std::vector<std::string> FoldersAbove(std::string folder) {
  std::vector<std::string> above;
  while (!folder.empty()) {
    const size_t slash = folder.rfind('/');
    folder.resize(slash == std::string::npos ? 0 : slash);
    above.push_back(folder);
  }
  return above;
}

// Names are UTF-8 without control characters: ParseEntryName has escaped those that were not, and
// escaping them again would show what nobody has called a file.
std::string InQuotes(std::string_view name) {
  constexpr size_t kMostBytes = 100;
  size_t shown = std::min(name.size(), kMostBytes);
  const auto is_within_character = [&] { return (name[shown] & 0xc0) == 0x80; };
  while (shown > 0 && shown < name.size() && is_within_character()) --shown;
  return absl::StrCat("\"", std::string(name.substr(0, shown)), "\"",
                      shown < name.size() ? "..." : "");
}

std::string InWords(const std::string& folder) {
  return folder.empty() ? "no folder" : "the folder " + InQuotes(folder);
}

}  // namespace

absl::StatusOr<int64_t> ClassFolders::Find(const std::string& folder) {
  const auto [found, is_new] = numbers_.try_emplace(folder, static_cast<int64_t>(numbers_.size()));
  if (is_new) has_pictures_.push_back(false);
  if (static_cast<int64_t>(numbers_.size()) > max_folders_) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are more than ", max_folders_, " folders"));
  }
  return found->second;
}

bool ClassFolders::HasPictures(const std::string& folder) const {
  const auto found = numbers_.find(folder);
  return found != numbers_.end() && has_pictures_[static_cast<size_t>(found->second)];
}

absl::StatusOr<FolderClasses> ClassFolders::Resolve() const {
  FolderClasses classes;
  classes.labels.assign(numbers_.size(), 0);
  std::set<std::string> names;
  for (const auto& [folder, number] : numbers_) {
    if (HasPictures(folder)) names.insert(ClassOf(folder));
  }
  if (static_cast<int64_t>(names.size()) > max_classes_) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", names.size(), " classes; at most ",
                                                   max_classes_, " are allowed"));
  }
  classes.names.assign(names.begin(), names.end());
  RETURN_IF_ERROR(CheckFolders(classes));
  if (std::count(has_pictures_.begin(), has_pictures_.end(), true) <= 1) {
    classes.names.clear();
    return classes;
  }
  for (const auto& [folder, number] : numbers_) {
    if (!HasPictures(folder)) continue;
    const auto name = std::lower_bound(classes.names.begin(), classes.names.end(), ClassOf(folder));
    classes.labels[static_cast<size_t>(number)] = name - classes.names.begin();
  }
  return classes;
}

absl::Status ClassFolders::CheckFolders(const FolderClasses& classes) const {
  std::vector<std::string> empty;
  for (const auto& [folder, number] : numbers_) {
    RETURN_IF_ERROR(CheckFolder(folder));
    if (IsEmptyClass(folder, classes)) empty.push_back(DescribeEmptyClass(folder));
  }
  if (empty.empty()) return absl::OkStatus();
  const size_t shown = std::min(empty.size(), kMaxShownFolders);
  const std::string more = shown < empty.size()
                               ? absl::StrCat("; and ", empty.size() - shown, " more such folders")
                               : "";
  empty.resize(shown);
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrJoin(empty, "; "), more, "; remove the folder or fix its files"));
}

absl::Status ClassFolders::CheckFolder(const std::string& folder) const {
  if (!HasPictures(folder)) return absl::OkStatus();
  const std::vector<std::string> above = FoldersAbove(folder);
  const auto with_pictures = std::find_if(above.begin(), above.end(),
                                          [&](const std::string& f) { return HasPictures(f); });
  if (with_pictures == above.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "there are pictures in ", InWords(*with_pictures), " and in ", InWords(folder),
      " below it; a picture's class is the folder it lies in, so that either has classes"));
}

bool ClassFolders::IsEmptyClass(const std::string& folder, const FolderClasses& classes) const {
  if (HasPictures(folder)) return false;
  // A folder of notes beside the pictures of a class, or beside the classes, is not a class.
  const std::vector<std::string> above = FoldersAbove(folder);
  if (std::any_of(above.begin(), above.end(),
                  [&](const std::string& f) { return HasPictures(f); })) {
    return false;
  }
  const auto next = numbers_.upper_bound(folder + "/");
  const bool is_above_others =
      folder.empty() || (next != numbers_.end() && next->first.starts_with(folder + "/"));
  const bool is_class =
      std::binary_search(classes.names.begin(), classes.names.end(), ClassOf(folder));
  return !is_above_others && !is_class;
}

std::string ClassFolders::DescribeEmptyClass(const std::string& folder) const {
  std::string text = absl::StrCat(InWords(folder), " holds no readable picture");
  const auto problem = first_problems_.find(numbers_.at(folder));
  if (problem == first_problems_.end()) return text;
  const auto& [file, reason] = problem->second;
  if (file.empty()) return absl::StrCat(text, " (", reason, ")");
  return absl::StrCat(text, " (the first file, ", InQuotes(file), ": ", reason, ")");
}

}  // namespace denoise
