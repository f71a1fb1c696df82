#include "server/scheduling/fair_share.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace denoise {

double WeightOf(Priority priority) {
  switch (priority) {
    case Priority::kBatch:
      return 1;
    case Priority::kNormal:
      return 4;
    case Priority::kInteractive:
      return 16;
  }
  return 1;
}

std::vector<double> Shares(std::span<const Flow> present, const TenantWeights& weights) {
  const auto weight_of = [&](const Flow& flow) {
    const auto weight = weights.find(flow.tenant);
    return weight == weights.end() ? 1.0 : weight->second;
  };
  std::map<std::string_view, double> priorities;  // the sum of each tenant's
  double tenants = 0;
  for (const Flow& flow : present) {
    const auto [sum, is_new] = priorities.try_emplace(flow.tenant, 0.0);
    if (is_new) tenants += weight_of(flow);
    sum->second += WeightOf(flow.priority);
  }
  std::vector<double> shares;
  for (const Flow& flow : present) {
    shares.push_back(weight_of(flow) / tenants * WeightOf(flow.priority) /
                     priorities.at(flow.tenant));
  }
  return shares;
}

double TakenFrom(size_t flow, std::span<const double> held, std::span<const double> shares,
                 double capacity) {
  double taken = 0;
  for (size_t other = 0; other < held.size(); ++other) {
    taken += other == flow ? held[other] : std::min(held[other], shares[other] * capacity);
  }
  return taken;
}

double FairAccount::VirtualTimeOf(const Flow& flow) const {
  const auto time = times_.find(flow);
  return time == times_.end() ? now_ : std::max(time->second, now_);
}

void FairAccount::Charge(std::span<const Use> uses) {
  std::optional<double> least_left_out;
  double last_begin = now_, most = now_;  // of the rows of the turn; of all flows after it
  for (const Use& use : uses) {
    const double begin = VirtualTimeOf(use.flow);
    const double time = absl::ToDoubleSeconds(use.time) / use.share;
    times_[use.flow] = begin + time;
    most = std::max(most, begin + time);
    if (use.rows > 0) last_begin = std::max(last_begin, begin + time * (use.rows - 1) / use.rows);
    if (use.left_out)
      least_left_out = std::min(least_left_out.value_or(begin + time), begin + time);
  }
  // Nobody is owed anything where nobody is left out.
  now_ = least_left_out ? std::max(now_, std::min(last_begin, *least_left_out)) : most;
  std::erase_if(times_, [this](const auto& entry) { return entry.second <= now_; });
}

}  // namespace denoise
