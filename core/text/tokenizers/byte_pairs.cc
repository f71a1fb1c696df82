#include "core/text/tokenizers/byte_pairs.h"

#include <optional>
#include <queue>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/text/tokenizers/unicode_text.h"

namespace denoise {
namespace {

constexpr size_t kMaxViolations = 20;

bool IsVisibleLatin1(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

uint64_t Key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

// Looks pieces up and collects those that are missing, up to a limit.
class PieceFinder {
 public:
  explicit PieceFinder(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // 0 after a violation.
  int32_t Find(const std::string& piece, const std::string& field, std::string_view role) {
    const auto found = vocabulary_.find(piece);
    if (found != vocabulary_.end()) return static_cast<int32_t>(found->second);
    Violate(field, absl::StrCat("the vocabulary lacks ", std::string(role), " ", Quoted(piece)));
    return 0;
  }

  void Violate(const std::string& field, const std::string& description) {
    if (violations_.violations().size() < kMaxViolations) violations_.Add(field, description);
  }

  absl::Status status() const { return violations_.ToStatus(); }

 private:
  const Vocabulary& vocabulary_;
  FieldViolations violations_;
};

// A piece of a word while it is being merged; a list linked by indices.
struct Symbol {
  int32_t id;
  int32_t previous;  // -1: none, like `next`
  int32_t next;
  bool merged = false;  // into its left neighbour
};

struct Candidate {
  int32_t rank;
  int32_t left;    // the index of a symbol
  int32_t result;  // the id of both together

  // For a queue that puts the lowest rank first, and then what is leftmost.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

}  // namespace

std::string ByteCharacter(uint8_t byte) {
  if (IsVisibleLatin1(byte)) return EncodeUtf8(std::u32string(1, byte));
  char32_t hidden = 0;  // bytes below it that have no character of their own
  for (int below = 0; below < byte; ++below) hidden += IsVisibleLatin1(below) ? 0 : 1;
  return EncodeUtf8(std::u32string(1, 0x100 + hidden));
}

absl::StatusOr<BytePairEncoder> BytePairEncoder::Create(const Vocabulary& vocabulary,
                                                        const MergeList& merges) {
  BytePairEncoder encoder;
  PieceFinder finder(vocabulary);
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string character = ByteCharacter(static_cast<uint8_t>(byte));
    encoder.inside_[byte] = finder.Find(character, "vocab", "the byte");
    encoder.last_[byte] =
        finder.Find(absl::StrCat(character, std::string(kEndOfWord)), "vocab", "the byte");
  }
  encoder.merges_.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string field = absl::StrCat("merges[", i, "]");
    const auto& [left, right] = merges[i];
    const int32_t left_id = finder.Find(left, field, "the piece");
    const int32_t right_id = finder.Find(right, field, "the piece");
    const int32_t result = finder.Find(left + right, field, "the merged piece");
    const bool added =
        encoder.merges_.try_emplace(Key(left_id, right_id), Merge{static_cast<int32_t>(i), result})
            .second;
    if (!added && finder.status().ok()) {
      finder.Violate(field, absl::StrCat("merges ", Quoted(left), " and ", Quoted(right),
                                         ", like an earlier line"));
    }
  }
  if (absl::Status status = finder.status(); !status.ok()) return status;
  return encoder;
}

const BytePairEncoder::Merge* BytePairEncoder::Find(int32_t left, int32_t right) const {
  const auto found = merges_.find(Key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePairEncoder::Encode(std::string_view word, std::vector<int64_t>& ids) const {
  const auto size = static_cast<int32_t>(word.size());
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  for (int32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
    const bool is_last = i + 1 == size;
    symbols.push_back({is_last ? last_[byte] : inside_[byte], i - 1, is_last ? -1 : i + 1});
  }
  const auto at = [&](int32_t index) -> Symbol& { return symbols[static_cast<size_t>(index)]; };

  std::priority_queue<Candidate> candidates;
  const auto consider = [&](int32_t left) {
    if (left < 0 || at(left).next < 0) return;
    const Merge* merge = Find(at(left).id, at(at(left).next).id);
    if (merge != nullptr) candidates.push({merge->rank, left, merge->result});
  };
  for (int32_t i = 0; i < size; ++i) consider(i);

  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = at(best.left);
    if (left.merged || left.next < 0) continue;
    Symbol& right = at(left.next);
    // One of the two may have become another piece meanwhile.
    const Merge* merge = Find(left.id, right.id);
    if (merge == nullptr || merge->result != best.result) continue;
    left.id = best.result;
    left.next = right.next;
    right.merged = true;
    if (left.next >= 0) at(left.next).previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (const Symbol& symbol : symbols) {
    if (!symbol.merged) ids.push_back(symbol.id);
  }
}

}  // namespace denoise
