#include "server/identity/token_file.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

// The bytes are the file, and at the same time the token of a caller.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = AsText(data, size);
  const absl::StatusOr<TokenFile> file = TokenFile::Parse(text);
  if (!file.ok()) {
    Require(absl::IsInvalidArgument(file.status()), "a bad file is INVALID_ARGUMENT");
    return 0;
  }
  Require(file->Find(text) == nullptr, "a file does not contain its tokens");
  return 0;
}

}  // namespace denoise
