// Whether the scheduler admits a request, and when what it has admitted will begin and end.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/scheduling/scheduler.h"

namespace denoise {
namespace {

constexpr absl::Duration kRetryWhenFull = absl::Seconds(1);
constexpr absl::Duration kLongestRetry = absl::Minutes(1);
// What one tenant, by requests of several priorities, and all tenants together may have waiting, in
// queue sizes.
constexpr int kTenantQueues = 2;
constexpr int kMostQueues = 16;
// Safety margin for estimation errors, as a part of the time to the deadline, where a request is cut
// down to what fits.
constexpr double kMargin = 0.1;

std::string SecondsText(absl::Duration time) {
  return absl::StrFormat("%.3g s", absl::ToDoubleSeconds(time));
}

absl::Status TenantLimit(const Flow& flow, std::string_view description, absl::Duration delay) {
  const std::string tenant =
      flow.tenant.empty() ? "callers without a tenant" : absl::StrCat("tenant ", flow.tenant);
  return WithErrorReason(
      WithRetryDelay(QuotaExceeded(tenant, absl::StrCat(std::string(description), ". Retry in ",
                                                        absl::FormatDuration(delay))),
                     delay),
      kTenantLimitReason);
}

}  // namespace

absl::Status Scheduler::Admissible(const WorkDemand& demand, absl::Time now) const {
  if (draining_) return DrainingError();
  if (CountWorking() == 0) return DeviceFailedError();
  if (demand.deadline <= now) return absl::DeadlineExceededError("the deadline has passed");
  RETURN_IF_ERROR(CheckQueue(demand));
  RETURN_IF_ERROR(CheckTenant(demand));
  return CheckDeadline(demand, now);
}

absl::Status Scheduler::CheckTenant(const WorkDemand& demand) const {
  if (options_.tenant_queue_size == 0 && options_.tenant_cost_max == absl::InfiniteDuration()) {
    return absl::OkStatus();
  }
  const std::map<uint64_t, absl::Duration> costs = CostsLeft();
  absl::Duration cost = CostOfAll(demand).value_or(absl::ZeroDuration());
  absl::Duration outstanding;
  int waiting = 0;
  for (const auto& [id, entry] : entries_) {
    if (entry.work->demand().flow.tenant != demand.flow.tenant) continue;
    waiting += entry.items_begun == 0;
    if (const auto left = costs.find(id); left != costs.end()) outstanding += left->second;
  }
  if (options_.tenant_queue_size > 0 && waiting >= options_.tenant_queue_size) {
    return TenantLimit(demand.flow,
                       absl::StrCat(waiting, " requests already wait to start, the maximum"),
                       kRetryWhenFull);
  }
  // One request alone may exceed the limit, as it could never run otherwise.
  if (outstanding > absl::ZeroDuration() && outstanding + cost > options_.tenant_cost_max) {
    return TenantLimit(
        demand.flow,
        absl::StrCat("accepted requests still need ", SecondsText(outstanding),
                     " of a device, and this one ", SecondsText(cost), ": together more than ",
                     SecondsText(options_.tenant_cost_max), ", the maximum"),
        std::clamp(outstanding + cost - options_.tenant_cost_max, kRetryWhenFull, kLongestRetry));
  }
  return absl::OkStatus();
}

// Others' requests count up to their share of the queue, so that nobody can fill it for all. What
// the tenant's other priorities hold counts up to theirs.
absl::Status Scheduler::CheckQueue(const WorkDemand& demand) const {
  const FlowTable flows = PresentFlows(&demand.flow);
  std::vector<double> waiting(flows.flows.size());
  int of_tenant = 0;
  for (const auto& [id, entry] : entries_) {
    if (entry.items_begun > 0) continue;
    const Flow& flow = entry.work->demand().flow;
    ++waiting[flows.IndexOf(flow)];
    of_tenant += flow.tenant == demand.flow.tenant;
  }
  const int queued = CountNotStarted();
  const double taken =
      TakenFrom(flows.IndexOf(demand.flow), waiting, flows.shares, options_.queue_size);
  if (taken + 1 <= options_.queue_size && of_tenant < kTenantQueues * options_.queue_size &&
      queued < kMostQueues * options_.queue_size) {
    return absl::OkStatus();
  }
  return WithErrorReason(
      UnavailableRetryAfter(
          absl::StrCat("the queue is full: ", queued,
                       " requests wait to start, and --queue-size is ", options_.queue_size,
                       ". Retry in ", absl::FormatDuration(kRetryWhenFull)),
          kRetryWhenFull),
      kQueueFullReason);
}

// While nothing else is to be done, only what could not be done in time even at the best speed seen
// is refused: otherwise one bad measurement could refuse everything that would correct it.
absl::Status Scheduler::CheckDeadline(const WorkDemand& demand, absl::Time now) const {
  const CostModel::Costs* const costs = CostsOf(demand);
  if (costs == nullptr || demand.deadline == absl::InfiniteFuture()) return absl::OkStatus();
  const absl::Duration left = demand.deadline - now;
  absl::Duration needed;
  for (const auto& [time, times] :
       {std::pair(costs->evaluation.Shortest(), demand.evaluations),
        {costs->encoding.shortest(), demand.first_stage == Stage::kEncode},
        {costs->decoding.shortest(), demand.decodes}}) {
    if (time < absl::InfiniteDuration()) needed += time * times;
  }
  const Backlog backlog = BacklogFor(demand);
  if (!entries_.empty()) {
    needed =
        std::max(needed, TimeToFinish(demand, demand.evaluations, backlog, now).value_or(needed));
  }
  if (needed <= left) return absl::OkStatus();
  const int fitting = FittingEvaluations(demand, backlog, now);
  const std::string advice =
      fitting > 0 ? absl::StrCat("about ", fitting, " evaluations of ", demand.evaluations, " fit")
                  : "not even one evaluation fits";
  absl::Status status = absl::DeadlineExceededError(
      absl::StrCat("the deadline cannot be met: the request is expected to take ",
                   SecondsText(needed), " and has ", SecondsText(left), " left; ", advice,
                   ". Ask for fewer steps, set allow_fewer_steps, or allow more time"));
  status = WithErrorReason(std::move(status), kDeadlineTooShortReason);
  status = WithErrorMetadata(std::move(status), "estimated_seconds",
                             absl::StrCat(absl::ToDoubleSeconds(needed)));
  return WithErrorMetadata(std::move(status), "fitting_evaluations", absl::StrCat(fitting));
}

const CostModel::Costs* Scheduler::CostsOf(const WorkDemand& demand) const {
  const CostModel::Costs* const costs = costs_.Find(demand.network, demand.height, demand.width);
  return costs == nullptr || costs->evaluation.empty() ? nullptr : costs;
}

// The rows of a full batch.
int Scheduler::BatchRows(const WorkDemand& demand) const {
  const int cap = std::max(1, options_.max_batch_rows / demand.row_size);
  const CostModel::Costs* const costs = costs_.Find(demand.network, demand.height, demand.width);
  return costs == nullptr ? cap : std::min({cap, costs->knee, costs->rows_max});
}

// Of an item of `evaluations`, in full batches.
std::optional<absl::Duration> Scheduler::ItemCost(const WorkDemand& demand, int evaluations) const {
  const CostModel::Costs* const costs = CostsOf(demand);
  if (costs == nullptr) return std::nullopt;
  const int batch = std::max(BatchRows(demand), demand.rows_max);
  absl::Duration cost =
      costs->evaluation.TimeOf(batch) * demand.rows_max * int64_t{evaluations} / batch;
  if (demand.first_stage == Stage::kEncode) cost += costs->encoding.typical();
  if (demand.decodes) cost += costs->decoding.typical();
  return cost;
}

std::optional<absl::Duration> Scheduler::CostOfAll(const WorkDemand& demand) const {
  const auto item = ItemCost(demand, demand.evaluations);
  if (!item) return std::nullopt;
  return *item * demand.items;
}

// How long the request would take without any other.
std::optional<absl::Duration> Scheduler::TimeAlone(const WorkDemand& demand,
                                                   int evaluations) const {
  const CostModel::Costs* const costs = CostsOf(demand);
  if (costs == nullptr) return std::nullopt;
  const int workers = std::max(CountWorking(), 1);
  const int items = (demand.items + workers - 1) / workers;  // of one worker
  const int batch = std::max(BatchRows(demand), demand.rows_max);
  const int rows = items * demand.rows_max;
  const absl::Duration round = rows < batch ? costs->evaluation.TimeOf(rows)
                                            : costs->evaluation.TimeOf(batch) * rows / batch;
  absl::Duration time = round * int64_t{evaluations};
  if (demand.first_stage == Stage::kEncode) time += costs->encoding.typical() * items;
  if (demand.decodes) time += costs->decoding.typical() * items;
  return time;
}

// Of a request that arrives now. One whose cost is not known yet is due when nothing else is.
absl::Time Scheduler::DueTime(const WorkDemand& demand, int evaluations, absl::Time now) const {
  return policy_.DueTime(now, TimeAlone(demand, evaluations).value_or(absl::InfiniteDuration()),
                         demand.deadline);
}

Scheduler::Backlog Scheduler::BacklogFor(const WorkDemand& demand) const {
  Backlog backlog{.flows = PresentFlows(&demand.flow), .works = {}};
  for (const auto& [id, cost] : CostsLeft()) {
    const Entry& other = entries_.at(id);
    backlog.works.push_back(
        {.flow = backlog.flows.IndexOf(other.work->demand().flow), .cost = cost, .due = other.due});
  }
  return backlog;
}

// How long the request would take with `evaluations` for each item.
std::optional<absl::Duration> Scheduler::TimeToFinish(const WorkDemand& demand, int evaluations,
                                                      const Backlog& backlog,
                                                      absl::Time now) const {
  const auto alone = TimeAlone(demand, evaluations);
  if (!alone) return std::nullopt;
  const OutstandingWork work = {.flow = backlog.flows.IndexOf(demand.flow),
                                .cost = *ItemCost(demand, evaluations) * demand.items,
                                .alone = *alone,
                                .due = DueTime(demand, evaluations, now)};
  return EstimateFinish(work, backlog.works, backlog.flows.shares, std::max(CountWorking(), 1));
}

int Scheduler::FittingEvaluations(const WorkDemand& demand, const Backlog& backlog,
                                  absl::Time now) const {
  const absl::Duration left = (demand.deadline - now) * (1 - kMargin);
  const auto fits = [&](int evaluations) {
    mutex_.AssertHeld();
    const auto time = TimeToFinish(demand, evaluations, backlog, now);
    return !time || *time <= left;
  };
  if (fits(demand.evaluations)) return demand.evaluations;
  int fitting = 0, too_many = demand.evaluations;
  while (too_many - fitting > 1) {
    const int middle = (fitting + too_many) / 2;
    (fits(middle) ? fitting : too_many) = middle;
  }
  return fitting;
}

std::optional<absl::Duration> Scheduler::CostLeft(const WorkItem& item) const {
  return ItemCost(DemandOf(item), item.evaluations_left);
}

// By the ids of those whose costs are known.
std::map<uint64_t, absl::Duration> Scheduler::CostsLeft() const {
  std::map<uint64_t, absl::Duration> costs;
  for (const auto& [id, entry] : entries_) {
    if (!entry.end.ok()) continue;
    const WorkDemand& demand = entry.work->demand();
    const auto item = ItemCost(demand, demand.evaluations);
    if (item) costs[id] = *item * entry.ItemsWaiting();
  }
  for (const Loop& loop : loops_) {
    for (const auto& item : loop.items) {
      const auto cost = costs.find(item->work_id);
      if (cost != costs.end()) cost->second += *CostLeft(*item);
    }
  }
  return costs;
}

// Of `waiting` in this order.
std::vector<std::optional<absl::Duration>> Scheduler::Waits(
    const Waiting& waiting, const std::vector<size_t>& order) const {
  const std::vector<std::optional<absl::Duration>> unknown(order.size());
  std::vector<RunningItem> running;
  for (const Loop& loop : loops_) {
    for (const auto& item : loop.items) {
      if (!entries_.at(item->work_id).end.ok()) continue;
      const auto cost = CostLeft(*item);
      if (!cost) return unknown;
      running.push_back(
          {.rows = DemandOf(*item).rows_max, .cost = *cost, .due = entries_.at(item->work_id).due});
    }
  }
  std::vector<QueuedWork> queue;
  for (const size_t i : order) {
    const Entry& entry = entries_.at(waiting.work[i].id);
    const WorkDemand& demand = entry.work->demand();
    const auto cost = ItemCost(demand, demand.evaluations);
    if (!cost) return unknown;
    queue.push_back(
        {.rows = demand.rows_max, .items = entry.ItemsWaiting(), .cost = *cost, .due = entry.due});
  }
  const int rows = options_.batching == Batching::kEvaluation ? options_.max_active_rows
                                                              : options_.max_batch_rows;
  const int workers = std::max(CountWorking(), 1);
  return EstimateWaits(running, queue, rows * workers, workers);
}

std::vector<EvaluationCurve::Point> Scheduler::EvaluationTimes(
    const std::shared_ptr<const void>& network, int64_t height, int64_t width) const {
  const MutexLock lock(mutex_);
  const CostModel::Costs* const costs = costs_.Find(network, height, width);
  return costs == nullptr ? std::vector<EvaluationCurve::Point>() : costs->evaluation.Points();
}

std::optional<absl::Duration> Scheduler::CostOf(const WorkDemand& demand) const {
  const MutexLock lock(mutex_);
  return CostOfAll(demand);
}

int Scheduler::FittingEvaluations(const WorkDemand& demand) const {
  const absl::Time now = clock_.Now();
  const MutexLock lock(mutex_);
  return FittingEvaluations(demand, BacklogFor(demand), now);
}

absl::Duration Scheduler::OutstandingCost() const {
  const MutexLock lock(mutex_);
  absl::Duration outstanding;
  for (const auto& [id, cost] : CostsLeft()) outstanding += cost;
  return outstanding;
}

}  // namespace denoise
