// Decompresses a stream.
#pragma once

#include <cstdint>
#include <memory>

#include "core/data/byte_source.h"

namespace denoise {

// The content of `packed`, decompressed if its first bytes are those of gzip, xz or zstd, otherwise
// unchanged. Only one layer of compression is removed. Reading returns InvalidArgument for data
// that is damaged, truncated, followed by something else, or larger than `max_bytes` once
// decompressed.
std::unique_ptr<ByteSource> Unpack(std::unique_ptr<ByteSource> packed, int64_t max_bytes);

}  // namespace denoise
