// Finds pictures that look almost the same. Internal to core/data.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// The 64-bit difference hash. The picture, in gray over white, is averaged to 9 x 8 cells; each bit
// says whether a cell is darker than its right neighbour. Scaling, compression and brightness
// change few bits.
uint64_t DifferenceHash(const Image& image);

struct SimilarPair {
  int64_t first;  // less than `second`
  int64_t second;
  int hamming_distance;

  bool operator==(const SimilarPair&) const = default;
};

struct NearDuplicates {
  int64_t pictures = 0;               // that have a near-duplicate
  std::vector<SimilarPair> examples;  // some pairs, most similar first
};

inline constexpr int kMaxSimilarDistance = 4;

// Finds the pictures whose hash is within kMaxSimilarDistance bits of another's. Pictures with
// equal hashes are grouped first. Of six bands of bits, two hashes within 4 bits share at least
// two, so only hashes that share two bands are compared. Crafted hashes that share bands without
// being similar end the search after `max_comparisons`; the result is then a lower bound.
// `check_cancelled` is called frequently; its error ends the search.
absl::StatusOr<NearDuplicates> FindNearDuplicates(
    std::span<const uint64_t> hashes, size_t max_examples,
    const std::function<absl::Status()>& check_cancelled,
    int64_t max_comparisons = int64_t{1} << 31);

}  // namespace denoise
