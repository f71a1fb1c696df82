// What every reader of uploads promises for any bytes.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "core/base/utf8.h"
#include "core/data/byte_source.h"
#include "core/data/class_folders.h"
#include "core/data/entry_name.h"
#include "core/data/upload_reader.h"
#include "core/image/image.h"
#include "tests/fuzz/fuzz_target.h"

namespace denoise {

inline constexpr UploadLimits kFuzzLimits = {.max_unpacked_bytes = 1 << 20,
                                             .max_pictures = 1000,
                                             .max_classes = 10,
                                             .max_folders = 20,
                                             .max_file_bytes = 1 << 16,
                                             .max_pixels = 1 << 12};

inline void CheckEntry(const UploadEntry& entry) {
  const std::string name = entry.name();
  Require(!name.empty() || !entry.problem.empty(), "a file has a name");
  Require(name.size() <= 2 * kMaxNameBytes && IsUtf8(name), "names can be shown");
  for (char c : name) Require(c != '\0' && c != '\n' && c != '\x1b', "names are one line of text");
  const std::string path = "/" + entry.folder + "/";
  Require(!entry.problem.empty() || (path.find("/../") == std::string::npos && entry.file != ".."),
          "names of files that are taken stay in their folder");
  Require(entry.problem.empty() != entry.bytes.empty(), "a file has bytes or a problem");
  Require(static_cast<int64_t>(entry.bytes.size()) <= kFuzzLimits.max_file_bytes,
          "files are within the limit");
}

inline void CheckClasses(const ClassFolders& folders) {
  const absl::StatusOr<FolderClasses> classes = folders.Resolve();
  if (!classes.ok()) {
    Require(absl::IsInvalidArgument(classes.status()), "bad folders are INVALID_ARGUMENT");
    return;
  }
  Require(static_cast<int64_t>(classes->names.size()) <= kFuzzLimits.max_classes,
          "classes are within the limit");
  for (int64_t label : classes->labels) {
    Require(label == 0 || label < static_cast<int64_t>(classes->names.size()),
            "labels are classes");
  }
}

// Reads all of it. `are_pictures`: the reader makes the pictures itself, which then can be decoded.
inline void CheckUpload(UploadFormat format, const uint8_t* data, size_t size, bool are_pictures) {
  const std::string bytes(AsText(data, size));
  const OpenBytes open = [&]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    return std::make_unique<StringSource>(bytes);
  };
  absl::StatusOr<std::unique_ptr<UploadReader>> reader = OpenUpload(format, open, kFuzzLimits);
  if (!reader.ok()) {
    Require(absl::IsInvalidArgument(reader.status()), "a bad upload is INVALID_ARGUMENT");
    return;
  }
  ClassFolders folders(kFuzzLimits.max_folders, kFuzzLimits.max_classes);
  for (;;) {
    const absl::StatusOr<std::optional<UploadEntry>> entry = (*reader)->Next();
    if (!entry.ok()) {
      Require(absl::IsInvalidArgument(entry.status()), "a bad upload is INVALID_ARGUMENT");
      break;
    }
    if (!*entry) break;
    CheckEntry(**entry);
    const absl::StatusOr<int64_t> folder = folders.Find((*entry)->folder);
    if (!folder.ok()) break;
    if ((*entry)->problem.empty()) folders.AddPicture(*folder);
    if (are_pictures) {
      Require(DecodeImage((*entry)->bytes, kFuzzLimits.max_pixels).ok(), "pictures can be decoded");
    }
  }
  CheckClasses(folders);
}

}  // namespace denoise
