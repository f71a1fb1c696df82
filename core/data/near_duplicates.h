// Pictures that look all but the same. Internal to core/data.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/image/image.h"

namespace denoise {

// The 64-bit difference hash: the picture, in gray over white, averaged to 9 x 8 cells; a bit says
// whether a cell is darker than its right neighbour. Scaling, compression and overall brightness
// leave most bits as they are.
uint64_t DifferenceHash(const Image& image);

struct SimilarPair {
  int64_t first;  // less than the second
  int64_t second;
  int hamming_distance;

  bool operator==(const SimilarPair&) const = default;
};

struct NearDuplicates {
  int64_t pictures = 0;               // that have another within the distance
  std::vector<SimilarPair> examples;  // some pairs of them, the most alike first
};

inline constexpr int kMaxSimilarDistance = 4;

// Among pictures with these hashes, those within kMaxSimilarDistance bits of another. Pictures of one
// hash are taken together; of six bands of bits, two hashes within 4 bits share two at least, so that
// only those are compared that do. Hashes made up so that many do, and yet none is near another, end
// the search after `max_comparisons`; what it has found is then a lower bound. `go_on` is asked again
// and again: anything but OK ends the search with that status.
absl::StatusOr<NearDuplicates> FindNearDuplicates(std::span<const uint64_t> hashes,
                                                  size_t max_examples,
                                                  const std::function<absl::Status()>& go_on,
                                                  int64_t max_comparisons = int64_t{1} << 31);

}  // namespace denoise
