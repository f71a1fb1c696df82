// `denoised new-token`: makes a bearer token for --tokens.
#pragma once

#include <iosfwd>
#include <optional>

namespace denoise {

// Runs the command if argv[1] names it, and returns its exit code: 0 ok, 2 wrong usage. nullopt if it
// is another command. Writes the entry for the file to `out` and the token to `err`, so that
// `denoised new-token ... >> tokens` shows the token and stores only its hash.
std::optional<int> RunNewTokenCommand(int argc, const char* const* argv, std::ostream& out,
                                      std::ostream& err);

}  // namespace denoise
