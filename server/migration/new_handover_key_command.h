// `denoised new-handover-key`: makes a key for the file of --handover-key.
#pragma once

#include <iosfwd>
#include <optional>

namespace denoise {

// Runs the command if argv[1] names it, and returns its exit code: 0 ok, 2 wrong usage. nullopt if it
// is another command. Writes the line for the file to `out`.
std::optional<int> RunNewHandoverKeyCommand(int argc, const char* const* argv, std::ostream& out,
                                            std::ostream& err);

}  // namespace denoise
