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
      pending_[static_cast<int>(arrived)].work = {.id = arrived,
                                                  .rows = request.rows,
                                                  .waiting_since = now,
                                                  .deadline = request.deadline,
                                                  .last_event = ++last_event_};
      pending_[static_cast<int>(arrived)].due =
          policy_.DueTime(request.arrival, TimeAlone(request), request.deadline);
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

std::vector<Flow> QueueSimulation::Flows() const {
  std::set<Flow> flows;
  for (const auto& [request, pending] : pending_) flows.insert((*requests_)[request].flow);
  return {flows.begin(), flows.end()};
}

absl::Duration QueueSimulation::TimeAlone(const SimulatedRequest& request) const {
  const int of_loop = (request.items + static_cast<int>(loops_.size()) - 1) /
                      static_cast<int>(loops_.size()) * request.rows;
  const int calls = (of_loop + options_.max_batch_rows - 1) / options_.max_batch_rows;
  return evaluation_ * request.evaluations * calls;
}

namespace {

size_t IndexOf(const Flow& flow, const std::vector<Flow>& flows) {
  return std::find(flows.begin(), flows.end(), flow) - flows.begin();
}

}  // namespace

void QueueSimulation::Fill(absl::Time now) {
  while (true) {
    const std::vector<Flow> flows = Flows();
    const std::vector<double> shares = Shares(flows, {});
    std::vector<WaitingWork> waiting;
    std::vector<int> owners;
    for (auto& [request, pending] : pending_) {
      if (pending.begun == (*requests_)[request].items) continue;
      pending.work.flow = IndexOf((*requests_)[request].flow, flows);
      waiting.push_back(pending.work);
      owners.push_back(request);
    }
    std::vector<LoopLoad> loads;
    for (const Loop& loop : loops_) {
      loads.push_back({.rows = std::vector<double>(flows.size())});
      for (const Item& item : loop.items) {
        const SimulatedRequest& request = (*requests_)[item.request];
        loads.back().rows[IndexOf(request.flow, flows)] += request.rows;
        loads.back().rows_of_work[item.request] += request.rows;
      }
    }
    const auto placement = policy_.Place(waiting, shares, loads, now);
    on_decision({.now = now,
                 .waiting = waiting,
                 .requests = owners,
                 .shares = shares,
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
    ++pending.begun;
    loops_[placement->loop].rows += pending.work.rows;
    loops_[placement->loop].items.push_back({.request = request,
                                             .evaluations_left = (*requests_)[request].evaluations,
                                             .waiting_since = now,
                                             .is_first = pending.begun == 1});
    result_.placed.push_back(request);
  }
}

void QueueSimulation::Evaluate(Loop& loop, absl::Time now) {
  if (loop.items.empty()) return;
  const std::vector<Flow> flows = Flows();
  const std::vector<double> shares = Shares(flows, {});
  std::vector<FlowInLoop> accounts;
  std::vector<FairAccount::Use> uses;
  for (size_t flow = 0; flow < flows.size(); ++flow) {
    accounts.push_back(
        {.share = shares[flow], .virtual_time = loop.account.VirtualTimeOf(flows[flow])});
    uses.push_back({.flow = flows[flow], .share = shares[flow], .time = {}});
  }
  std::vector<LoopItem> candidates;
  for (Item& item : loop.items) {
    const SimulatedRequest& request = (*requests_)[item.request];
    candidates.push_back(
        {.key = {.network = requests_->data() + request.network},
         .rows = request.rows,
         .flow = IndexOf(request.flow, flows),
         .opens = item.is_first && !item.evaluated && !loop.opened.contains(request.flow),
         .waiting_since = item.waiting_since,
         .due = pending_.at(item.request).due});
    ++item.waited;
  }
  loop.opened.clear();
  std::vector<bool> chosen(loop.items.size());
  const double row_seconds = absl::ToDoubleSeconds(evaluation_) / options_.max_batch_rows;
  for (const size_t i : policy_.ChooseBatch(candidates, accounts, row_seconds)) {
    chosen[i] = true;
    uses[candidates[i].flow].rows += candidates[i].rows;
    uses[candidates[i].flow].time += absl::Seconds(row_seconds * candidates[i].rows);
    loop.items[i].waiting_since = now;
    if (candidates[i].opens) loop.opened.insert(flows[candidates[i].flow]);
  }
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i]) uses[candidates[i].flow].left_out = true;
  }
  loop.account.Charge(uses);
  std::vector<int> batch;
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i]) batch.push_back(loop.items[i].request);
  }
  on_batch(batch);
  std::vector<Item> waiting, evaluated;
  for (size_t i = 0; i < chosen.size(); ++i) {
    (chosen[i] ? evaluated : waiting).push_back(loop.items[i]);
  }
  for (Item& item : evaluated) {
    const int rows = (*requests_)[item.request].rows;
    on_evaluation(item.request, item.is_first && !item.evaluated, item.waited);
    item.waited = 0;
    item.evaluated = true;
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
