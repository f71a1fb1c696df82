// The server's scheduler under load on a device that is only a curve: how long an evaluation takes
// by its number of rows. Says in seconds what to expect of a device that is not at hand, and what a
// change of the policy does:
//
//     build/release/bin/scheduling_simulator
//     build/release/bin/scheduling_simulator --curve 1=0.031,2=0.041,4=0.064,8=0.11,16=0.21
//
// Requests arrive as a Poisson process; each is one image of one row and shows a frame after every
// evaluation. Everything but the device and the clock is the server's: admission, queue, batches.
// The capacity, of which loads are parts, is what the device could do at its best throughput.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/bench/samples.h"
#include "server/scheduling/scheduler.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

struct Flags {
  // Of the starter model on two cores of a CPU, from docs/performance.md.
  std::vector<std::string> curve = {"1=0.0145", "2=0.0226", "4=0.0364", "8=0.0707", "16=0.140"};
  std::vector<double> loads = {0.5, 0.8, 0.95, 1.5, 3};
  std::vector<int> steps = {5, 10, 20, 50};
  std::vector<double> weights = {4, 3, 2, 1};
  int requests = 20'000;
  int seed = 1;
  double deadline_seconds = 0;
  double batch_efficiency = 0.98;
  bool markdown = false;
  bool quick = false;
};

// Seconds of an evaluation by its rows.
using Curve = std::map<int, double>;

struct SimulatedCall {
  absl::Duration arrival;
  int steps = 1;
};

class SimulatedWork : public Work {
 public:
  using Work::Work;

  std::unique_ptr<WorkItem> MakeItem(int index) override {
    return std::make_unique<WorkItem>(index);
  }
  void OnQueued(const QueuePlace&) override {}
  void OnFinished(const absl::Status& status) override { ok = status.ok(); }

  bool ok = false;
};

// What one way of batching made of a load.
struct Outcome {
  Samples first_frame;
  Samples request;
  std::map<int, Samples> of_steps;
  Samples slowdown;  // the time of a request over its time alone
  int refused = 0;
  int succeeded = 0;
  double seconds = 0;
  double evaluations = 0;
  double rows = 0;
};

class Simulation {
 public:
  Simulation(const Flags& flags, const EvaluationCurve& device, Batching batching)
      : flags_(flags),
        device_(device),
        scheduler_({.batching = batching, .batch_efficiency = flags.batch_efficiency}, clock_) {
    for (const EvaluationCurve::Point& point : device.Points()) {
      for (int i = 0; i < MeasuredTime::kSamplesKnown; ++i) {
        scheduler_.RecordEvaluation(network_, 0, 0, point.rows, point.time);
      }
    }
  }

  Outcome Run(const std::vector<SimulatedCall>& calls) {
    const absl::Time start = clock_.Now();
    for (const SimulatedCall& call : calls) {
      while (start + call.arrival > clock_.Now()) {
        if (!scheduler_.HasTurn(0)) {
          clock_.Advance(start + call.arrival - clock_.Now());
        } else if (!turn_) {
          BeginTurn();
        } else {
          AdvanceTo(std::min(start + call.arrival, *turn_));
        }
      }
      Submit(call);
    }
    while (scheduler_.HasTurn(0) || turn_) turn_ ? AdvanceTo(*turn_) : BeginTurn();
    outcome_.seconds = absl::ToDoubleSeconds(clock_.Now() - start);
    for (Samples* samples : {&outcome_.first_frame, &outcome_.request, &outcome_.slowdown}) {
      samples->Sort();
    }
    for (auto& [steps, samples] : outcome_.of_steps) samples.Sort();
    return std::move(outcome_);
  }

 private:
  struct Running {
    std::shared_ptr<SimulatedWork> work;
    absl::Time arrival;
    int steps = 1;
    bool began = false;
  };

  void Submit(const SimulatedCall& call) {
    WorkDemand demand{.network = network_, .evaluations = call.steps};
    demand.settings = static_cast<uint64_t>(call.steps);
    if (flags_.deadline_seconds > 0) {
      demand.deadline = clock_.Now() + absl::Seconds(flags_.deadline_seconds);
    }
    auto work = std::make_shared<SimulatedWork>(std::move(demand));
    if (const auto id = scheduler_.Submit(work); id.ok()) {
      running_[*id] = {.work = std::move(work), .arrival = clock_.Now(), .steps = call.steps};
    } else {
      ++outcome_.refused;
    }
  }

  void BeginTurn() {
    batch_ = std::get<Batch>(*scheduler_.NextTurn(0));
    if (batch_.items.empty()) return;
    turn_ = clock_.Now() + absl::Ceil(device_.TimeOf(batch_.rows), absl::Nanoseconds(1));
  }

  // `time` is at most the end of the turn.
  void AdvanceTo(absl::Time time) {
    clock_.Advance(time - clock_.Now());
    if (*turn_ > time) return;
    scheduler_.RecordEvaluation(network_, 0, 0, batch_.rows, device_.TimeOf(batch_.rows));
    ++outcome_.evaluations;
    outcome_.rows += batch_.rows;
    for (WorkItem* item : batch_.items) {
      Running& running = running_.at(item->work_id);
      const double seconds = absl::ToDoubleSeconds(time - running.arrival);
      if (!std::exchange(running.began, true)) outcome_.first_frame.Add(seconds);
      if (--item->evaluations_left > 0) continue;
      const Running done = running;
      scheduler_.Remove(0, item, absl::OkStatus());
      if (!done.work->ok) continue;
      ++outcome_.succeeded;
      outcome_.request.Add(seconds);
      outcome_.of_steps[done.steps].Add(seconds);
      outcome_.slowdown.Add(seconds / (absl::ToDoubleSeconds(device_.TimeOf(1)) * done.steps));
    }
    turn_.reset();
  }

  const Flags& flags_;
  const EvaluationCurve& device_;
  FakeClock clock_;
  Scheduler scheduler_;
  std::shared_ptr<const int> network_ = std::make_shared<int>();
  std::map<uint64_t, Running> running_;
  Batch batch_;
  std::optional<absl::Time> turn_;  // when it ends
  Outcome outcome_;
};

// The clock counts whole nanoseconds.
absl::Duration WholeNanoseconds(double seconds) {
  return absl::Ceil(absl::Seconds(seconds), absl::Nanoseconds(1));
}

std::string Seconds(const Samples& samples, double p) {
  return samples.empty() ? "-" : absl::StrFormat("%.3g", samples.Quantile(p));
}

std::string Percent(int part, int all) { return absl::StrFormat("%.1f %%", 100.0 * part / all); }

// How many requests a second the device can finish at most, whatever shares its evaluations.
double Capacity(const Flags& flags, const EvaluationCurve& device) {
  double rows_per_second = 0, evaluations = 0, weights = 0;
  for (const EvaluationCurve::Point& point : device.Points()) {
    rows_per_second = std::max(rows_per_second, point.rows / absl::ToDoubleSeconds(point.time));
  }
  for (size_t i = 0; i < flags.steps.size(); ++i) {
    evaluations += flags.weights[i] * flags.steps[i];
    weights += flags.weights[i];
  }
  return rows_per_second / (evaluations / weights);
}

std::vector<SimulatedCall> Calls(const Flags& flags, double rate) {
  std::mt19937_64 random(static_cast<uint64_t>(flags.seed));
  std::discrete_distribution<size_t> kind(flags.weights.begin(), flags.weights.end());
  std::exponential_distribution<double> gap(rate);
  std::vector<SimulatedCall> calls(static_cast<size_t>(flags.requests));
  absl::Duration now;
  for (SimulatedCall& call : calls) {
    now += WholeNanoseconds(gap(random));
    call = {.arrival = now, .steps = flags.steps[kind(random)]};
  }
  return calls;
}

void Run(const Flags& flags, const EvaluationCurve& device) {
  std::vector<TableRow> rows = {{"batching", "load", "first frame p50", "first frame p99",
                                 "request p50", "request p99",
                                 absl::StrCat(flags.steps.front(), " steps p99"),
                                 absl::StrCat(flags.steps.back(), " steps p99"), "slowdown p99",
                                 "refused", "missed", "goodput/s", "rows/evaluation"}};
  const double capacity = Capacity(flags, device);
  for (const double load : flags.loads) {
    const auto calls = Calls(flags, load * capacity);
    for (const auto& [name, batching] : {std::pair("evaluation", Batching::kEvaluation),
                                         {"request", Batching::kRequest},
                                         {"none", Batching::kNone}}) {
      Outcome outcome = Simulation(flags, device, batching).Run(calls);
      rows.push_back({name, absl::StrCat(load), Seconds(outcome.first_frame, 0.5),
                      Seconds(outcome.first_frame, 0.99), Seconds(outcome.request, 0.5),
                      Seconds(outcome.request, 0.99),
                      Seconds(outcome.of_steps[flags.steps.front()], 0.99),
                      Seconds(outcome.of_steps[flags.steps.back()], 0.99),
                      Seconds(outcome.slowdown, 0.99), Percent(outcome.refused, flags.requests),
                      Percent(flags.requests - outcome.refused - outcome.succeeded, flags.requests),
                      absl::StrFormat("%.3g", outcome.succeeded / outcome.seconds),
                      absl::StrFormat("%.2f", outcome.rows / outcome.evaluations)});
    }
  }
  PrintTable(absl::StrFormat("%d requests at each load; capacity %.3g requests/s; seconds",
                             flags.requests, capacity),
             rows, flags.markdown);
}

// "rows=seconds", ...
std::optional<Curve> ParseCurve(const std::vector<std::string>& points) {
  Curve curve;
  for (const std::string& point : points) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(point, absl::MaxSplits('=', 1));
    int rows = 0;
    double seconds = 0;
    if (!absl::SimpleAtoi(parts.first, &rows) || !absl::SimpleAtod(parts.second, &seconds) ||
        rows < 1 || !(seconds > 0) || seconds > 1e6) {
      return std::nullopt;
    }
    curve[rows] = seconds;
  }
  return curve;
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("The server's scheduler under load on a device that is only a curve.");
  app.add_option("--curve", flags.curve, "Seconds of an evaluation, by its rows: 1=0.03,4=0.07")
      ->delimiter(',')
      ->check([](const std::string& point) {
        return denoise::ParseCurve({point}) ? "" : "is not rows=seconds: " + point;
      });
  app.add_option("--loads", flags.loads, "Parts of the device's capacity")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--steps", flags.steps, "Steps of requests")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--weights", flags.weights, "How often each of --steps comes")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--requests", flags.requests, "At each load")->capture_default_str();
  app.add_option("--deadline", flags.deadline_seconds, "Seconds from a request's arrival; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch-efficiency", flags.batch_efficiency, "As the flag of denoised")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--seed", flags.seed, "Of arrivals and steps")->capture_default_str();
  app.add_flag("--markdown", flags.markdown, "A table for the documentation");
  app.add_flag("--quick", flags.quick, "Few requests: shows that it works");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.weights.size() != flags.steps.size()) {
    std::fprintf(stderr, "--weights needs one number for each of --steps\n\n%s",
                 app.help().c_str());
    return 2;
  }
  if (flags.quick) flags.requests = 200;
  const denoise::Curve curve = *denoise::ParseCurve(flags.curve);
  denoise::EvaluationCurve device;
  for (const auto& [rows, seconds] : curve) {
    device.Assume(rows, absl::Seconds(seconds));
  }
  denoise::Run(flags, device);
}
