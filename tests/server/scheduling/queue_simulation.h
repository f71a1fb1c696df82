// Random traces of requests through loops that QueuePolicy fills, in virtual time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "server/scheduling/fair_share.h"
#include "server/scheduling/queue_policy.h"

namespace denoise {

struct SimulatedRequest {
  absl::Time arrival;
  int items = 1;
  int rows = 1;
  int evaluations = 1;  // of each item
  Flow flow = {};
  int network = 0;
  absl::Time deadline = absl::InfiniteFuture();
};

// What a simulation shows of itself each time the policy has decided on a placement.
struct SimulatedDecision {
  absl::Time now;
  std::span<const WaitingWork> waiting;
  std::span<const int> requests;   // whose entries of `waiting` those are
  std::span<const double> shares;  // of the flows that those refer to
  std::span<const LoopLoad> loops;
  const ItemPlacement* placement;  // null where nothing could be placed
};

struct SimulationResult {
  std::vector<int> placed;          // requests, in the order of their placements
  std::map<int, absl::Time> ended;  // when the last item of each request finished
  std::vector<int> unfinished;      // requests with items that were never placed or finished
};

class QueueSimulation {
 public:
  QueueSimulation(QueuePolicy::Options options, int loops, absl::Duration evaluation)
      : options_(options), policy_(options), evaluation_(evaluation), loops_(loops) {}

  // Hears of every decision.
  std::function<void(const SimulatedDecision&)> on_decision = [](const SimulatedDecision&) {};
  // Hears how many evaluations an item of `request` has waited for this one.
  std::function<void(int request, bool is_its_first, int waited)> on_evaluation = [](int, bool,
                                                                                     int) {};
  // Hears of the requests whose items share an evaluation.
  std::function<void(std::span<const int> requests)> on_batch = [](std::span<const int>) {};

  // Runs `requests`, in order of arrival, until nothing is left to do. Every loop evaluates a batch
  // at each multiple of the evaluation's duration.
  SimulationResult Run(const std::vector<SimulatedRequest>& requests);

 private:
  struct Item {
    int request;
    int evaluations_left;
    absl::Time waiting_since;  // its last turn; its placement before the first
    bool is_first;             // of its request
    bool evaluated = false;
    int waited = 0;  // evaluations of its loop since its last one
  };
  struct Loop {
    std::vector<Item> items;  // the first has waited longest
    int rows = 0;
    FairAccount account = {};
    std::set<Flow> opened = {};  // whose requests had their first evaluation in the last turn
  };
  struct Pending {
    int begun = 0;
    int finished = 0;
    WaitingWork work;
    absl::Time due;
  };

  // The flows of requests that are not over, ascending.
  std::vector<Flow> Flows() const;
  absl::Duration TimeAlone(const SimulatedRequest& request) const;
  void Fill(absl::Time now);
  void Evaluate(Loop& loop, absl::Time now);

  const QueuePolicy::Options options_;
  const QueuePolicy policy_;
  const absl::Duration evaluation_;
  std::vector<Loop> loops_;
  const std::vector<SimulatedRequest>* requests_ = nullptr;
  std::map<int, Pending> pending_;  // arrived and not finished
  uint64_t last_event_ = 0;
  SimulationResult result_;
};

}  // namespace denoise
