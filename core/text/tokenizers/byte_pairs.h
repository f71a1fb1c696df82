// Byte pair encoding (Sennrich et al. 2016) over bytes, as GPT-2 and CLIP do it (Radford et al.
// 2019, 2021). Internal to core/text/tokenizers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

// A piece of a vocabulary writes each byte as one character, and ends with this if it ends a word.
inline constexpr std::string_view kEndOfWord = "</w>";

// The character that a piece writes for `byte`, in UTF-8: itself if it is a visible character of
// Latin-1, else the next unused one from U+0100 on.
std::string ByteCharacter(uint8_t byte);

using Vocabulary = std::unordered_map<std::string, int64_t>;
using MergeList = std::vector<std::pair<std::string, std::string>>;  // the most wanted first

// Immutable and thread-safe.
class BytePairEncoder {
 public:
  // InvalidArgument has field violations ("vocab", "merges[7]") for bytes, halves and results of
  // merges that the vocabulary lacks, and for merges that are listed twice.
  static absl::StatusOr<BytePairEncoder> Create(const Vocabulary& vocabulary,
                                                const MergeList& merges);

  // Appends the ids of `word`, some bytes that are followed by the end of the word. Takes
  // n log n time.
  void Encode(std::string_view word, std::vector<int64_t>& ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t result;  // an id
  };

  BytePairEncoder() = default;

  const Merge* Find(int32_t left, int32_t right) const;

  std::array<int32_t, 256> inside_;             // ids of bytes, inside a word ...
  std::array<int32_t, 256> last_;               // ... and at its end
  std::unordered_map<uint64_t, Merge> merges_;  // by the ids of both halves
};

}  // namespace denoise
