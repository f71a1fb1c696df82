// A name for one call, for the log and for whoever asks about it.
#pragma once

#include <string>

namespace denoise {

// 16 random hexadecimal digits. Thread-safe.
std::string NewRequestId();

}  // namespace denoise
