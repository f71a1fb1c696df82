// Bytes that nobody can guess.
#pragma once

#include <cstddef>
#include <string>

namespace denoise {

// From the system's generator. Throws std::runtime_error where it has none.
std::string RandomBytes(size_t count);

}  // namespace denoise
