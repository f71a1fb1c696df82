#include "core/ranks/joined_rank.h"

#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <optional>
#include <system_error>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/ranks/addresses.h"
#include "core/ranks/c10d_errors.h"
#include "core/ranks/leader_store.h"

namespace denoise {
namespace {

constexpr std::chrono::seconds kConnectTimeout(2);
constexpr absl::Duration kPulseInterval = absl::Seconds(1);
constexpr std::chrono::seconds kSuspended(8);
// What a thread gets to notice that nobody waits for it any more.
constexpr absl::Duration kGiveUpTime = absl::Seconds(1);

absl::Status Gone(const std::exception& error) {
  return absl::UnavailableError(absl::StrCat("the leader has gone: ", OneLine(error)));
}

// Whether the leader answers, as a thread finds out that asks it once a second.
class LeaderPulse {
 public:
  explicit LeaderPulse(c10::intrusive_ptr<c10d::Store> store)
      : state_(std::make_shared<State>(std::move(store))) {
    std::thread([state = state_] {
      try {
        while (!state->ended) {
          state->store->check({kVersionKey});
          state->answered = Clock::now();
          absl::SleepFor(kPulseInterval);
        }
      } catch (const std::exception&) {
        state->lost = true;
      }
    }).detach();
  }
  ~LeaderPulse() { state_->ended = true; }
  LeaderPulse(const LeaderPulse&) = delete;
  LeaderPulse& operator=(const LeaderPulse&) = delete;

  // To be called at least every five seconds: a caller that has not looked for longer was suspended,
  // and so was the thread that asks.
  bool beats() const {
    const Clock::time_point now = Clock::now();
    if (now - state_->looked.exchange(now) > kSuspended) state_->answered = now;
    return !state_->lost && now - state_->answered.load() < kAnswerTimeout;
  }

 private:
  using Clock = std::chrono::steady_clock;

  struct State {
    explicit State(c10::intrusive_ptr<c10d::Store> store) : store(std::move(store)) {}
    const c10::intrusive_ptr<c10d::Store> store;
    std::atomic<Clock::time_point> answered = Clock::now(), looked = Clock::now();
    std::atomic<bool> lost = false, ended = false;
  };
  const std::shared_ptr<State> state_;
};

// Threads that have been left behind and still wait for an answer.
std::atomic<int> left_behind = 0;
constexpr int kMostLeftBehind = 4;

// The result of `talk`, which runs on a thread of its own, or nullopt once `gives_up` or if there is
// no thread. In the former case it is left behind, and `talk` has to keep alive what it uses.
template <class Talk>
auto TalkUntil(Talk talk, const std::function<bool()>& gives_up)
    -> std::optional<decltype(talk())> {
  enum class State { kAwaited, kLeftBehind, kOver };
  const auto state = std::make_shared<std::atomic<State>>(State::kAwaited);
  std::packaged_task<decltype(talk())()> task(std::move(talk));
  auto result = task.get_future();
  try {
    std::thread([task = std::move(task), state]() mutable {
      task();
      if (state->exchange(State::kOver) == State::kLeftBehind) --left_behind;
    }).detach();
  } catch (const std::system_error&) {  // there may be no more threads
    return std::nullopt;
  }
  while (result.wait_for(absl::ToChronoMilliseconds(kPollInterval)) != std::future_status::ready) {
    if (!gives_up()) continue;
    ++left_behind;
    if (state->exchange(State::kLeftBehind) == State::kOver) --left_behind;
    return std::nullopt;
  }
  return result.get();
}

absl::Status NoLeaderAt(const std::string& address, const std::string& why) {
  return absl::UnavailableError(
      absl::StrCat("no leader answers at ", address, ", which must be its --rank-listen: ", why));
}

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ConnectTo(const HostAndPort& leader,
                                                          const std::string& version) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(leader.port);
  options.waitWorkers = false;
  options.timeout = kConnectTimeout;
  auto store = c10::make_intrusive<c10d::TCPStore>(leader.host, options);
  store->setTimeout(kAnswerTimeout);
  const std::string leaders = ToText(store->get(kVersionKey));
  if (leaders == version) return store;
  return absl::FailedPreconditionError(absl::StrCat("the leader is ", Quoted(leaders),
                                                    ", and this rank ", Quoted(version),
                                                    ": run the same version on all machines"));
}

}  // namespace

// A rank's connection to the leader's store.
class JoinedRank::Membership {
 public:
  // Throws as the store does.
  Membership(c10::intrusive_ptr<c10d::Store> store, Route route)
      : pulse(store->clone()),
        store_(std::move(store)),
        route_(std::move(route)),
        finished_jobs_(store_->add(kFinishedKey, 0)) {}

  const LeaderPulse pulse;
  std::atomic<bool> given_up = false;  // nobody waits for NextGroup any more

  absl::StatusOr<std::unique_ptr<RankGroup>> NextGroup() {
    while (!given_up) {
      std::optional<RankGroup::Options> options;
      c10::intrusive_ptr<c10d::Store> group_store;
      try {
        if (SeesFinishedJob()) return absl::OutOfRangeError("a job is finished");
        options = Claim();
        if (!options) continue;
        group_store = GroupStore(round_, *store_);
      } catch (const std::exception& error) {
        return Gone(error);
      }
      auto group = RankGroup::Form(group_store, *options);
      if (group.ok()) return group;
    }
    return GatheringCancelled();
  }

 private:
  bool SeesFinishedJob() {
    const int64_t jobs = store_->add(kFinishedKey, 0);
    return std::exchange(finished_jobs_, jobs) != jobs;
  }

  int64_t LatestRound() {
    return store_->check({kRoundKey}) ? ToNumber(store_->get(kRoundKey)) : 0;
  }

  // Claims a place. Nullopt: there is none, or the round is over.
  std::optional<RankGroup::Options> Claim() {
    (void)Appears(*store_, RoundKey(round_ + 1, kOpenKey));  // rounds may have been missed, too
    const int64_t latest = LatestRound();
    if (latest <= round_) return std::nullopt;
    round_ = latest;
    if (given_up) return std::nullopt;
    RankGroup::Options options{.address = route_.from};
    store_->set(RoundKey(round_, kLeaderKey), ToBytes(route_.to));
    options.rank = static_cast<int>(store_->add(RoundKey(round_, kJoinedKey), 1));
    while (!Appears(*store_, RoundKey(round_, kGroupSizeKey))) {
      if (given_up || LatestRound() > round_) return std::nullopt;
    }
    options.size = static_cast<int>(ToNumber(store_->get(RoundKey(round_, kGroupSizeKey))));
    options.timeout = absl::Milliseconds(ToNumber(store_->get(RoundKey(round_, kTimeoutKey))));
    if (options.rank >= options.size) return std::nullopt;
    return options;
  }

  // By the thread that NextGroup runs on.
  const c10::intrusive_ptr<c10d::Store> store_;
  const Route route_;  // from this machine to the leader
  int64_t finished_jobs_;
  int64_t round_ = 0;  // the latest that was looked at
};

absl::StatusOr<std::unique_ptr<JoinedRank>> JoinedRank::Join(const std::string& address,
                                                             const std::string& version,
                                                             const Stopped& stopped) {
  ASSIGN_OR_RETURN(const HostAndPort leader, ParseHostAndPort(address));
  if (leader.port == 0) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(address), " has no port to join at"));
  }
  while (left_behind >= kMostLeftBehind) {
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
  using Joined = absl::StatusOr<std::shared_ptr<Membership>>;
  const absl::Time deadline = absl::Now() + absl::FromChrono(kConnectTimeout + kAnswerTimeout);
  std::optional<Joined> joined = TalkUntil(
      [address, leader, version]() -> Joined {
        try {
          ASSIGN_OR_RETURN(Route route, RouteTo(leader));
          ASSIGN_OR_RETURN(auto store, ConnectTo(leader, version));
          return std::make_shared<Membership>(std::move(store), std::move(route));
        } catch (const std::exception& error) {
          return NoLeaderAt(address, OneLine(error));
        }
      },
      [&] { return stopped() || absl::Now() > deadline; });
  if (!joined && stopped()) return GatheringCancelled();
  if (!joined) return NoLeaderAt(address, "nothing has come from there in time");
  RETURN_IF_ERROR(joined->status());
  return std::unique_ptr<JoinedRank>(new JoinedRank(**std::move(joined)));
}

JoinedRank::JoinedRank(std::shared_ptr<Membership> membership)
    : membership_(std::move(membership)) {}

JoinedRank::~JoinedRank() { membership_->given_up = true; }

bool JoinedRank::LeaderAnswers() const { return membership_->pulse.beats(); }

absl::StatusOr<std::unique_ptr<RankGroup>> JoinedRank::NextGroup(const Stopped& stopped) {
  if (stopped()) return GatheringCancelled();
  absl::Time leave_at = absl::InfiniteFuture();
  auto group = TalkUntil([membership = membership_] { return membership->NextGroup(); },
                         [&] {
                           if (!LeaderAnswers()) return true;
                           if (stopped() && !membership_->given_up.exchange(true)) {
                             leave_at = absl::Now() + kGiveUpTime;
                           }
                           return absl::Now() > leave_at;
                         });
  if (group) return *std::move(group);
  membership_->given_up = true;
  if (stopped()) return GatheringCancelled();
  return absl::UnavailableError("the leader does not answer");
}

}  // namespace denoise
