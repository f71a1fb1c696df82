// The end of a program that prints.
#pragma once

#include "absl/status/status.h"

namespace denoise {

// Unknown if anything that this process printed to standard output could not be written, to a full
// disk for example: that must not pass for success.
absl::Status FlushStandardOutput();

}  // namespace denoise
