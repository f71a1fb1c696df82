// Recognises what lies in the place of a file that was meant: the pointer of a version control
// system, or the page that a download gave instead.
#pragma once

#include <optional>
#include <string_view>

namespace denoise {

struct StandIn {
  std::string_view name;    // "a Git LFS pointer, not the file itself"
  std::string_view remedy;  // "run `git lfs pull` where it was cloned, and copy the file again"
};

// nullopt if it is none that people mistake for the file itself. `file` is the beginning of a file
// or all of it, and hostile.
std::optional<StandIn> RecogniseStandIn(std::string_view file);

}  // namespace denoise
