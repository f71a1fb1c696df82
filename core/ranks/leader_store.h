// What the leader and the other ranks write to the leader's store, and how.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace denoise {

// How often somebody who waits looks at the store, and whether to give up.
inline constexpr absl::Duration kPollInterval = absl::Milliseconds(50);
inline constexpr std::chrono::seconds kAnswerTimeout(10);

// Keys. "version" is the leader's, "round" the latest round, "finished" how many jobs are finished;
// "7/open", "7/joined", "7/leader", "7/group_size", "7/timeout" and "7/group/..." are those of
// round 7.
inline constexpr char kVersionKey[] = "version", kRoundKey[] = "round", kFinishedKey[] = "finished";
inline constexpr char kOpenKey[] = "open", kJoinedKey[] = "joined", kLeaderKey[] = "leader",
                      kGroupSizeKey[] = "group_size", kTimeoutKey[] = "timeout",
                      kGroupKey[] = "group";

inline std::string RoundKey(int64_t round, const char* name) {
  return absl::StrCat(round, "/", name);
}

inline std::vector<uint8_t> ToBytes(const std::string& text) { return {text.begin(), text.end()}; }
inline std::vector<uint8_t> ToBytes(int64_t number) { return ToBytes(absl::StrCat(number)); }

inline std::string ToText(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}
inline int64_t ToNumber(const std::vector<uint8_t>& bytes) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(ToText(bytes), &number);
  return number;
}

// Whether `key` is there, after a moment if need be. (To wait for it with a timeout, as the store
// can, writes a warning to the log every time.)
inline bool Appears(c10d::Store& store, const std::string& key) {
  if (store.check({key})) return true;
  absl::SleepFor(kPollInterval);
  return store.check({key});
}

// The keys of a group are its own, and so is its connection: waiting for one blocks a connection.
inline c10::intrusive_ptr<c10d::Store> GroupStore(int64_t round, c10d::Store& store) {
  return c10::make_intrusive<c10d::PrefixStore>(RoundKey(round, kGroupKey), store.clone());
}

inline absl::Status GatheringCancelled() {
  return absl::CancelledError("the gathering of ranks was cancelled");
}

}  // namespace denoise
