#include "core/ranks/rendezvous.h"

#include <algorithm>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/ranks/addresses.h"
#include "core/ranks/c10d_errors.h"
#include "core/ranks/leader_store.h"

namespace denoise {
namespace {

// What the other ranks of a group that did not form may take to come back: its forming timeout.
const absl::Duration kReturnTime = RankGroup::kFormingTimeout + absl::Seconds(5);

}  // namespace

absl::StatusOr<std::unique_ptr<Rendezvous>> Rendezvous::Listen(const std::string& address,
                                                               const std::string& version) {
  ASSIGN_OR_RETURN(const HostAndPort parsed, ParseHostAndPort(address));
  ASSIGN_OR_RETURN(FileDescriptor listener, ListeningSocket(parsed));
  const int port = LocalPort(listener.get());
  const std::string host = IsAnyAddress(parsed.host) ? "" : parsed.host;
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(port);
    options.isServer = true;
    options.waitWorkers = false;
    options.timeout = kAnswerTimeout;
    options.masterListenFd = listener.Release();
    auto store = c10::make_intrusive<c10d::TCPStore>(host.empty() ? "localhost" : host, options);
    store->set(kVersionKey, ToBytes(version));
    return std::unique_ptr<Rendezvous>(new Rendezvous(std::move(store), host, port));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", OneLine(error)));
  }
}

Rendezvous::Rendezvous(c10::intrusive_ptr<c10d::Store> store, std::string host, int port)
    : host_(std::move(host)), port_(port), store_(std::move(store)) {}

Rendezvous::~Rendezvous() = default;

absl::StatusOr<std::unique_ptr<RankGroup>> Rendezvous::Gather(
    const Wanted& wanted, const Stopped& stopped,
    const std::function<void(const absl::Status&)>& on_lost_round) {
  while (gathering_.exchange(true)) {
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
  const auto done = absl::MakeCleanup([this] { gathering_ = false; });
  absl::Time deadline = absl::Now() + wanted.wait;
  while (true) {
    auto group = GatherOnce(++round_, wanted, deadline, stopped);
    if (group.ok() || absl::IsCancelled(group.status())) return group;
    if (stopped()) return GatheringCancelled();
    if (on_lost_round) on_lost_round(group.status());
    absl::SleepFor(kPollInterval);
    deadline = std::max(deadline, absl::Now() + kReturnTime);
  }
}

absl::StatusOr<std::unique_ptr<RankGroup>> Rendezvous::GatherOnce(int64_t round,
                                                                  const Wanted& wanted,
                                                                  absl::Time deadline,
                                                                  const Stopped& stopped) {
  try {
    store_->set(kRoundKey, ToBytes(round));
    store_->set(RoundKey(round, kOpenKey), ToBytes(1));
    const absl::StatusOr<int> size = WaitForMembers(round, wanted, deadline, stopped);
    store_->set(RoundKey(round, kTimeoutKey), ToBytes(absl::ToInt64Milliseconds(wanted.timeout)));
    store_->set(RoundKey(round, kGroupSizeKey), ToBytes(size.value_or(0)));
    for (const char* name : {kOpenKey, kJoinedKey, kLeaderKey, kGroupSizeKey, kTimeoutKey}) {
      store_->deleteKey(RoundKey(round - 1, name));
    }
    RETURN_IF_ERROR(size.status());
    return RankGroup::Form(
        GroupStore(round, *store_),
        {.rank = 0, .size = *size, .address = AddressForGroup(round), .timeout = wanted.timeout});
  } catch (const std::exception& error) {
    return RankLostError(OneLine(error));
  }
}

// How many there are, with the leader.
absl::StatusOr<int> Rendezvous::WaitForMembers(int64_t round, const Wanted& wanted,
                                               absl::Time deadline, const Stopped& stopped) {
  while (true) {
    const int64_t size = 1 + store_->add(RoundKey(round, kJoinedKey), 0);
    if (size >= wanted.ranks) return wanted.ranks;
    if (size >= wanted.at_least && absl::Now() >= deadline) return static_cast<int>(size);
    if (stopped()) return GatheringCancelled();
    absl::SleepFor(kPollInterval);
  }
}

// At which others have reached this machine. Its own name often means the loopback interface.
std::string Rendezvous::AddressForGroup(int64_t round) const {
  if (!host_.empty()) return host_;
  const std::string key = RoundKey(round, kLeaderKey);
  const std::string reached = store_->check({key}) ? ToText(store_->get(key)) : "";
  return !reached.empty() && IsOwn(reached) ? reached : OwnName();
}

void Rendezvous::AnnounceFinished() {
  try {
    store_->add(kFinishedKey, 1);
  } catch (const std::exception&) {  // this process's own store: nobody is left to hear it
  }
}

}  // namespace denoise
