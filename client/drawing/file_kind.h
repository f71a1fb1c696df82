// The files that drawings are written to.
#pragma once

namespace denoise {

enum class FileKind { kPng, kSvg };

}  // namespace denoise
