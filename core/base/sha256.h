// SHA-256 of streams, files and named parts.
#pragma once

#include <cstddef>
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

  // Appends to the message.
  void Update(std::string_view bytes);

  // Appends a part, including the lengths, so that different lists of parts hash differently.
  void AddPart(std::string_view name, std::string_view content);
  // The same, of a part whose content of `size` bytes follows through Update.
  void BeginPart(std::string_view name, size_t size);

  // Returns the hash in lower-case hexadecimal. Call it once, last.
  std::string Finish();

 private:
  void AddSize(size_t size);

  struct Context;
  std::unique_ptr<Context> context_;
};

// The hash of a regular file. NotFound: no such file. InvalidArgument: not a regular file. Messages
// do not contain the path. `check_cancelled` is called before each read; its error ends the
// hashing.
absl::StatusOr<std::string> Sha256OfFile(
    const std::filesystem::path& path,
    const std::function<absl::Status()>& check_cancelled = [] { return absl::OkStatus(); });

}  // namespace denoise
