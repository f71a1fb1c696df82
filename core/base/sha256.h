// SHA-256, of what arrives piece by piece, of files, of named parts.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace denoise {

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  // More of the message.
  void Update(std::string_view bytes);

  // Lengths are hashed as well: no two lists of parts run together to the same bytes.
  void AddPart(std::string_view name, std::string_view content);

  // Lower-case hexadecimal; ends the hash.
  std::string Finish();

 private:
  void AddSized(std::string_view bytes);

  struct Context;
  std::unique_ptr<Context> context_;
};

// Of a regular file's content, read once from the beginning. NotFound: no such file.
// InvalidArgument: not a regular file. Messages do not contain the path. An error of `go_on`, which
// is asked before each piece, ends it.
absl::StatusOr<std::string> Sha256OfFile(
    const std::filesystem::path& path,
    const std::function<absl::Status()>& go_on = [] { return absl::OkStatus(); });

}  // namespace denoise
