// The first check of any request: a message of a few megabytes can hold millions of numbers, which
// nobody should begin to look at one by one.
#pragma once

#include <google/protobuf/message.h>

#include "absl/status/status.h"

namespace denoise {

// More than any repeated field of a request has a use for.
inline constexpr int kMaxRepeated = 4096;

// InvalidArgument that names each repeated field of `request`, at any depth, with more elements.
absl::Status CheckRepeatedCounts(const google::protobuf::Message& request);

}  // namespace denoise
