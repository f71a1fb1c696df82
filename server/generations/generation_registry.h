// Which generations can be found, how long the results of those that have ended are kept, and how
// much memory they take. Internal to server/generations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/generations/generation.h"
#include "server/requests/sample_budget.h"

namespace denoise {

// Not thread-safe: guarded by the mutex of Generations, as are the fields of the generations.
class GenerationRegistry {
 public:
  struct Limits {
    KeepTimes keep_times;
    int64_t keep_bytes;    // of all results that are kept
    size_t expired_names;  // that are remembered
  };

  // `on_change` is called when next_expiry() may have changed or there is something to free.
  GenerationRegistry(const Limits& limits, const Clock* clock, std::function<void()> on_change);

  // Those that have not expired. Null if there is none.
  GenerationRef Find(std::string_view full_name);
  GenerationRef FindNumber(int64_t number) const;
  // Whether a generation with this name is no longer kept.
  bool HasExpired(std::string_view full_name) const { return expired_names_.contains(full_name); }
  // At most `limit` that `viewer` sees, the newest first, of those whose number is less than
  // `before`.
  std::vector<GenerationRef> ListBefore(int64_t before, size_t limit, const Identity& viewer);

  // Returns the generation that had this name, which can no longer be found; null if none had.
  GenerationRef Add(const GenerationRef& generation);
  // It can no longer be found, and its result is not kept.
  void Remove(const GenerationRef& generation);

  // Once it has ended and has no readers, its result is kept or it is forgotten.
  void RetainOrForget(const GenerationRef& generation);
  // A reader of a kept result takes its memory on from the results that are kept. Errors are those
  // of SampleBudget::Reserve.
  absl::Status TakeFromKept(Generation& generation, SampleBudget& samples);
  // Forgets what has expired and, while kept results take too much memory, the oldest that nobody
  // reads. Readers keep what they read.
  void ForgetExpired();

  // When the next result expires.
  absl::Time next_expiry() const;
  bool has_forgotten() const { return !forgotten_.empty(); }
  // Those that were forgotten and have to be freed, which takes longer than a device's thread has.
  std::vector<GenerationRef> TakeForgotten() { return std::exchange(forgotten_, {}); }

 private:
  void Forget(const GenerationRef& generation);

  const Limits limits_;
  const Clock* const clock_;
  const std::function<void()> on_change_;

  std::map<std::string, GenerationRef, std::less<>> by_name_;  // the full one
  std::map<int64_t, GenerationRef> by_number_;
  // Of results that are kept, by number.
  std::set<std::pair<absl::Time, int64_t>> expiries_;
  std::set<std::pair<absl::Time, int64_t>> ends_;
  int64_t kept_bytes_ = 0;
  std::deque<std::string> expired_;  // oldest first
  std::set<std::string, std::less<>> expired_names_;
  std::vector<GenerationRef> forgotten_;
};

}  // namespace denoise
