// A line that tells how far something is.
#pragma once

#include <string>

#include "absl/time/time.h"

namespace denoise {

// At most `width` columns, UTF-8: `head`, a bar as long as there is room, `tail`. Without room for a
// bar the text alone.
std::string LineWithBar(const std::string& head, double fraction, const std::string& tail,
                        int width);

// "42 s", "17 min", "3 h 5 min".
std::string TimeText(absl::Duration duration);

// "812 B", "1.4 kB", "23.0 MB".
std::string BytesText(int64_t bytes);

}  // namespace denoise
