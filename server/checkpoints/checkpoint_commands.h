// The commands of `denoised` that work on checkpoints and start no server: check, convert and
// new-model. `denoise` has the same commands, and runs these.
#pragma once

#include <iosfwd>
#include <optional>

namespace denoise {

// Runs the command that argv[1] names and returns its exit code: 0 ok, 1 failed, 2 wrong usage.
// nullopt if it names none. Errors go to `err`, and as JSON to `out` if the user asked for JSON.
std::optional<int> RunCheckpointCommand(int argc, const char* const* argv, std::ostream& out,
                                        std::ostream& err);

}  // namespace denoise
