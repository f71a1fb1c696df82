// In which order an epoch shows the pictures of a data set.
#pragma once

#include <cstdint>

namespace denoise {

// The picture at place `index`, both in [0, pictures): over an epoch each of them once, in an order
// that is another one for each epoch and seed. A function of its arguments, so that nothing has to be
// shuffled, kept or saved.
int64_t PictureAt(int64_t index, int64_t pictures, uint64_t seed, int64_t epoch);

}  // namespace denoise
