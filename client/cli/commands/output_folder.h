// Files that commands write, and the folder that they write to.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/commands/run_list.h"
#include "core/image/image.h"

namespace denoise {

struct WrittenFile {
  std::string path;
  size_t size_bytes = 0;
};

// Writes `bytes` to `path`, creating folders on the way. The file appears whole or not at all: it
// is written beside its place and then renamed. Internal, with the file and the system's reason, if
// that fails.
absl::StatusOr<WrittenFile> WriteWholeFile(const std::filesystem::path& path,
                                           std::string_view bytes);
// The same for a file that only its owner may read and write.
absl::StatusOr<WrittenFile> WritePrivateFile(const std::filesystem::path& path,
                                             std::string_view bytes);

// InvalidArgument for `flag` if the file at `path` exists and may not be replaced.
absl::Status CheckNewFile(const std::string& flag, const std::filesystem::path& path,
                          bool overwrite);

// What writes to a folder.
struct OutputRun {
  // What it is called, if it may come back to its folder: "generations/zoo". Empty otherwise.
  std::string name = {};
  bool overwrite = false;               // files of another run may be removed
  bool continues = false;               // files of an earlier part of the same run stay
  std::vector<std::string> files = {};  // that this run is certain to write
};

// A folder that holds the files of one run. It keeps a list of them in the hidden file
// ".denoise-run", so that the next run can tell them from other people's files: those of another
// run are refused, or removed where that is allowed, and everything else is left alone. Not
// thread-safe.
class OutputFolder {
 public:
  // Creates the folder with its parents and checks that it can be written to and that nothing of
  // another run is in the way, nor a run that writes there now. Otherwise InvalidArgument for
  // --out. No other run can have the folder while the object lives.
  static absl::StatusOr<OutputFolder> Open(const std::filesystem::path& path,
                                           const OutputRun& run = {});

  // The same for a folder that nobody named: `name`, or NAME-2, NAME-3, ... where something is in
  // the way.
  static absl::StatusOr<OutputFolder> OpenDefault(const std::string& name, const OutputRun& run);

  const std::filesystem::path& path() const { return path_; }

  // Names the run, where its name was not known before. Nothing has been written yet.
  void SetRunName(const std::string& name) { run_.name = name; }

  // Writes `bytes` to `name` below the folder, as WriteWholeFile does. The first call removes what
  // an earlier run left. `name` must never come from the server.
  absl::StatusOr<WrittenFile> Write(const std::string& name, std::string_view bytes);

  // Writes a sheet of many pictures as PNG and returns its path. If the sheet is too large to be
  // made (InvalidArgument) the path is empty and left_out() says why.
  absl::StatusOr<std::string> WriteSheet(const std::string& name,
                                         const absl::StatusOr<Image>& sheet);
  // The same for `bytes`, which may go somewhere else than the folder.
  absl::StatusOr<std::string> WriteUnlessTooLarge(const std::filesystem::path& path,
                                                  const absl::StatusOr<std::string>& bytes);

  // For people; empty if everything was written.
  const std::string& left_out() const { return left_out_; }

 private:
  OutputFolder(std::filesystem::path path, OutputRun run, RunList list)
      : path_(std::move(path)), run_(std::move(run)), list_(std::move(list)) {}

  // AlreadyExists if something is in the way, InvalidArgument if the folder cannot be used.
  static absl::StatusOr<OutputFolder> OpenFree(const std::filesystem::path& path,
                                               const OutputRun& run);

  void Begin();
  absl::Status List(const std::string& name);

  std::filesystem::path path_;
  OutputRun run_;
  RunList list_;
  std::vector<std::string> earlier_files_;  // to be removed by the first write
  std::set<std::string> listed_;            // in the list of files
  bool begun_ = false;
  bool has_list_ = false;  // of this run
  std::string left_out_;
};

}  // namespace denoise
