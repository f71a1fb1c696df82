// Takes the compression off a stream.
#pragma once

#include <cstdint>
#include <memory>

#include "core/data/byte_source.h"

namespace denoise {

// The bytes of `packed` without gzip, xz or zstd, told by its first bytes; any others are handed on
// as they are. A compression within a compression is not taken off. InvalidArgument, when it is
// read: damaged, cut short, followed by something else, or more than `max_bytes` when unpacked.
std::unique_ptr<ByteSource> Unpack(std::unique_ptr<ByteSource> packed, int64_t max_bytes);

}  // namespace denoise
