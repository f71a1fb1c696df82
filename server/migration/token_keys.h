// The keys that seal tokens. All servers of a deployment have the same ones, from a file that its
// secret store mounts.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct TokenKey {
  // Says which key sealed a token: the beginning of a hash of `secret`.
  std::array<unsigned char, 4> id;
  std::array<unsigned char, 32> secret;
};

// At least one. The first seals, all of them open. To rotate keys without losing a token, add a new
// key at the end everywhere, then move it to the front, then remove the old one.
using TokenKeys = std::vector<TokenKey>;

// The keys in the text of a key file: one on each line, 64 hexadecimal digits. Empty lines and
// lines that begin with '#' are skipped. InvalidArgument names the line that is wrong, not what it
// holds.
absl::StatusOr<TokenKeys> ParseTokenKeys(std::string_view text);

// The keys in a file. InvalidArgument as above and as ReadFile's (core/base/read_file.h).
absl::StatusOr<TokenKeys> ReadTokenKeys(const std::string& path);

// A line with a new random key.
std::string NewTokenKeyLine();

}  // namespace denoise
