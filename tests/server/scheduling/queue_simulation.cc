#include "tests/server/scheduling/queue_simulation.h"

#include <algorithm>
#include <utility>

namespace denoise {

SimulationResult QueueSimulation::Run(const std::vector<SimulatedRequest>& requests) {
  requests_ = &requests;
  absl::Time now = requests.front().arrival;
  size_t arrived = 0;
  const auto busy = [&] {
    return std::any_of(loops_.begin(), loops_.end(),
                       [](const Loop& l) { return !l.items.empty(); });
  };
  while (arrived < requests.size() || busy()) {
    if (!busy() && arrived < requests.size()) now = std::max(now, requests[arrived].arrival);
    while (arrived < requests.size() && requests[arrived].arrival <= now) {
      const SimulatedRequest& request = requests[arrived];
      tenants_.try_emplace(request.tenant, last_event_ + 1);
      pending_[static_cast<int>(arrived)].work = {.rows = request.rows,
                                                  .priority = request.priority,
                                                  .waiting_since = request.arrival,
                                                  .deadline = request.deadline,
                                                  .last_event = ++last_event_};
      ++arrived;
      Fill(now);
    }
    now += evaluation_;
    for (Loop& loop : loops_) Evaluate(loop, now);
    Fill(now);
  }
  for (const auto& [request, pending] : pending_) result_.unfinished.push_back(request);
  return std::move(result_);
}

void QueueSimulation::Fill(absl::Time now) {
  while (true) {
    std::vector<WaitingWork> waiting;
    std::vector<int> owners;
    for (auto& [request, pending] : pending_) {
      if (pending.begun == (*requests_)[request].items) continue;
      pending.work.tenant_last_event = tenants_.at((*requests_)[request].tenant);
      waiting.push_back(pending.work);
      owners.push_back(request);
    }
    std::vector<LoopLoad> loads;
    for (const Loop& loop : loops_) loads.push_back({.rows = loop.rows});
    const auto placement = policy_.Place(waiting, loads, now);
    on_decision({.now = now,
                 .waiting = waiting,
                 .requests = owners,
                 .loops = loads,
                 .placement = placement ? &*placement : nullptr});
    if (!placement) return;
    const int request = owners[placement->work];
    Pending& pending = pending_.at(request);
    for (const size_t i : placement->overtaken) {
      pending_.at(owners[i]).work.overtaken_by_rows += pending.work.rows;
    }
    pending.work.waiting_since = now;
    pending.work.overtaken_by_rows = 0;
    pending.work.last_event = ++last_event_;
    tenants_[(*requests_)[request].tenant] = last_event_;
    ++pending.begun;
    loops_[placement->loop].rows += pending.work.rows;
    loops_[placement->loop].items.push_back(
        {.request = request, .evaluations_left = (*requests_)[request].evaluations});
    result_.placed.push_back(request);
  }
}

void QueueSimulation::Evaluate(Loop& loop, absl::Time now) {
  if (loop.items.empty()) return;
  std::vector<LoopItem> candidates;
  for (Item& item : loop.items) {
    const SimulatedRequest& request = (*requests_)[item.request];
    candidates.push_back(
        {.key = {.network = requests_->data() + request.network}, .rows = request.rows});
    ++item.waited;
    item.loop_rows_max = std::max(item.loop_rows_max, loop.rows);
  }
  std::vector<bool> chosen(loop.items.size());
  for (const size_t i : policy_.ChooseBatch(candidates)) chosen[i] = true;
  std::vector<Item> waiting, evaluated;
  for (size_t i = 0; i < chosen.size(); ++i) {
    (chosen[i] ? evaluated : waiting).push_back(loop.items[i]);
  }
  for (Item& item : evaluated) {
    const int rows = (*requests_)[item.request].rows;
    on_evaluation(rows, item.waited, item.loop_rows_max);
    item.waited = item.loop_rows_max = 0;
    if (--item.evaluations_left > 0) {
      waiting.push_back(item);
      continue;
    }
    loop.rows -= rows;
    if (++pending_.at(item.request).finished < (*requests_)[item.request].items) continue;
    result_.ended[item.request] = now;
    pending_.erase(item.request);
  }
  loop.items = std::move(waiting);
}

}  // namespace denoise
