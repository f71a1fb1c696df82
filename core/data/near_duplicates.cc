#include "core/data/near_duplicates.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <tuple>
#include <utility>

#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int kColumns = 9;
constexpr int kRows = 8;

// A few milliseconds of work between two checks for cancellation.
constexpr int64_t kComparisonsAtATime = int64_t{1} << 20;

// The mean of the pixels of cell (column, row). Every cell has at least one, whatever the size.
double CellMean(const Image& gray, int column, int row) {
  const auto begin = [](int cell, int cells, int size) {
    return static_cast<int>(int64_t{cell} * size / cells);
  };
  const int left = begin(column, kColumns, gray.width);
  const int right = std::max(left + 1, begin(column + 1, kColumns, gray.width));
  const int top = begin(row, kRows, gray.height);
  const int bottom = std::max(top + 1, begin(row + 1, kRows, gray.height));
  int64_t sum = 0;
  for (int y = top; y < bottom; ++y) {
    const uint8_t* line = &gray.pixels[size_t{1} * y * gray.width];
    sum = std::accumulate(line + left, line + right, sum);
  }
  return static_cast<double>(sum) / (int64_t{right - left} * (bottom - top));
}

// Pictures with the same hash.
struct Group {
  uint64_t hash;
  int64_t first;  // picture of it
  int64_t pictures;
  bool has_neighbour;
};

class Search {
 public:
  Search(size_t max_examples, const std::function<absl::Status()>& check_cancelled,
         int64_t max_comparisons)
      : max_examples_(max_examples),
        check_cancelled_(check_cancelled),
        comparisons_left_(max_comparisons) {}

  absl::StatusOr<NearDuplicates> Run(std::span<const uint64_t> hashes) && {
    MakeGroups(hashes);
    for (size_t i = 0; i < kBands.size(); ++i) {
      for (size_t j = i + 1; j < kBands.size(); ++j) {
        RETURN_IF_ERROR(CompareWhereEqual(kBands[i] | kBands[j]));
      }
    }
    NearDuplicates found;
    for (const Group& group : groups_) {
      if (group.has_neighbour) found.pictures += group.pictures;
    }
    std::sort(examples_.begin(), examples_.end(), [](const SimilarPair& a, const SimilarPair& b) {
      return std::tie(a.hamming_distance, a.first, a.second) <
             std::tie(b.hamming_distance, b.first, b.second);
    });
    found.examples = std::move(examples_);
    return found;
  }

 private:
  // Bits 0 to 10, 11 to 21, ... and the last 9.
  static constexpr std::array<uint64_t, kMaxSimilarDistance + 2> kBands = [] {
    std::array<uint64_t, kMaxSimilarDistance + 2> bands = {};
    for (size_t bit = 0; bit < 64; ++bit) bands[bit / 11] |= uint64_t{1} << bit;
    return bands;
  }();

  void MakeGroups(std::span<const uint64_t> hashes) {
    std::vector<int64_t> order(hashes.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return hashes[a] < hashes[b]; });
    for (int64_t picture : order) {
      if (groups_.empty() || groups_.back().hash != hashes[picture]) {
        groups_.push_back({hashes[picture], picture, 1, false});
        continue;
      }
      Group& group = groups_.back();
      ++group.pictures;
      group.has_neighbour = true;
      AddExample({group.first, picture, 0});
    }
  }

  // Compares groups whose hashes agree in the bits of `mask`.
  absl::Status CompareWhereEqual(uint64_t mask) {
    next_check_ = comparisons_left_;  // sorting takes a while
    const auto key = [mask](const Group& group) { return group.hash & mask; };
    std::sort(groups_.begin(), groups_.end(), [&](const Group& a, const Group& b) {
      return std::pair(key(a), a.hash) < std::pair(key(b), b.hash);
    });
    for (auto begin = groups_.begin(); begin != groups_.end();) {
      const auto end = std::find_if(begin, groups_.end(),
                                    [&](const Group& group) { return key(group) != key(*begin); });
      const std::span<Group> equal(begin, end);
      for (Group& group : equal) {
        if (group.has_neighbour) continue;
        RETURN_IF_ERROR(CheckCancelledNowAndThen());
        FindNeighbour(group, equal);
      }
      begin = end;
    }
    return absl::OkStatus();
  }

  absl::Status CheckCancelledNowAndThen() {
    if (comparisons_left_ > next_check_) return absl::OkStatus();
    next_check_ = comparisons_left_ - kComparisonsAtATime;
    return check_cancelled_();
  }

  // One neighbour is enough. This ends early among many similar pictures, such as drawings on
  // white.
  void FindNeighbour(Group& group, std::span<Group> among) {
    for (Group& other : among) {
      if (&other == &group) continue;
      if (comparisons_left_-- <= 0) return;
      const int distance = std::popcount(group.hash ^ other.hash);
      if (distance > kMaxSimilarDistance) continue;
      group.has_neighbour = other.has_neighbour = true;
      const auto [first, second] = std::minmax(group.first, other.first);
      AddExample({first, second, distance});
      return;
    }
  }

  void AddExample(const SimilarPair& pair) {
    if (examples_.size() < max_examples_) examples_.push_back(pair);
  }

  const size_t max_examples_;
  const std::function<absl::Status()>& check_cancelled_;
  int64_t comparisons_left_;
  int64_t next_check_ = 0;  // when so many are left
  std::vector<Group> groups_;
  std::vector<SimilarPair> examples_;
};

}  // namespace

uint64_t DifferenceHash(const Image& image) {
  const Image gray = Flatten(image, 1);
  uint64_t hash = 0;
  for (int row = 0; row < kRows; ++row) {
    double left = CellMean(gray, 0, row);
    for (int column = 1; column < kColumns; ++column) {
      const double right = CellMean(gray, column, row);
      hash = hash << 1 | static_cast<uint64_t>(left < right);
      left = right;
    }
  }
  return hash;
}

absl::StatusOr<NearDuplicates> FindNearDuplicates(
    std::span<const uint64_t> hashes, size_t max_examples,
    const std::function<absl::Status()>& check_cancelled, int64_t max_comparisons) {
  return Search(max_examples, check_cancelled, max_comparisons).Run(hashes);
}

}  // namespace denoise
