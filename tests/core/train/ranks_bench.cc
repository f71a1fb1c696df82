// What training on several ranks costs, on one machine:
//
//     build/release/bin/ranks_bench             a table for people
//     build/release/bin/ranks_bench --markdown  the same for the documentation
//     build/release/bin/ranks_bench --ranks 2 --channels 64 128 128 --batch 8
//
// N processes, each with one thread, train the same network on batches of the same size: apart
// from one another, and together as the ranks of one run, in turns. Both ways they compete for the
// same cores, so what the ranks are slower by is what they tell one another and wait for. Medians of
// the rounds are shown.
#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/nn/unet2d.h"
#include "core/ranks/joined_rank.h"
#include "core/ranks/rendezvous.h"
#include "core/train/shared_batches.h"
#include "core/train/trainer.h"
#include "tests/core/train/bench_network.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"
#include "tests/support/fixed_batches.h"
#include "tests/support/subprocess.h"

namespace denoise {
namespace {

constexpr char kVersion[] = "ranks_bench";

struct Flags {
  std::vector<int> ranks = {2, 4};
  int64_t size = 32;
  std::vector<int64_t> channels = {32, 64, 64};
  int batch = 8;
  int steps = 10;
  int rounds = 3;
  bool markdown = false;
  bool quick = false;
  std::string join;  // a process that the benchmark has started

  std::vector<std::string> ForMember(const std::string& program, int port) const {
    std::vector<std::string> argv = {program,
                                     "--join",
                                     absl::StrCat("127.0.0.1:", port),
                                     "--size",
                                     absl::StrCat(size),
                                     "--batch",
                                     absl::StrCat(batch),
                                     "--steps",
                                     absl::StrCat(steps),
                                     "--channels"};
    for (const int64_t each : channels) argv.push_back(absl::StrCat(each));
    return argv;
  }
};

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const Flags& flags,
                                                     std::shared_ptr<RankGroup> group) {
  ASSIGN_OR_RETURN(const UNet2DConfig config, BenchNetwork(flags.size, flags.channels, 8));
  Trainer::Setup setup;
  setup.weights = InitializeUNet2D(config, 1);
  setup.binder = [config](const StateDict& parameters, at::ScalarType dtype) {
    return BindUNet2D(config, parameters, dtype, {.batch_invariant = false});
  };
  ASSIGN_OR_RETURN(setup.scheduler, ParseSchedulerConfig(R"({"_class_name": "DDPMScheduler"})"));
  const int batch = flags.batch * (group ? group->size() : 1);
  setup.options.max_steps = 1000000;
  setup.options.batch_size = batch;
  setup.options.micro_batch_size = flags.batch;
  if (group && group->rank() != 0) {
    const NetworkSpec spec = setup.binder(setup.weights, at::kFloat)->spec();
    setup.batches = std::make_shared<ReceivedBatches>(spec, batch, batch, group.get());
  } else {
    setup.batches = std::make_shared<FixedBatches>(
        TrainingRows{.x0 = at::rand({batch, 3, flags.size, flags.size}),
                     .class_labels = at::zeros({batch}, at::kLong)});
  }
  ASSIGN_OR_RETURN(auto trainer, Trainer::Create(std::move(setup)));
  if (group) trainer->TrainWith(std::move(group));
  return trainer;
}

absl::Status Train(Trainer& trainer, int steps) {
  while (steps > 0) {
    ASSIGN_OR_RETURN(const auto report, trainer.RunSlice());
    if (report) --steps;
  }
  return absl::OkStatus();
}

absl::Status WaitForAll(RankGroup& group) {
  at::Tensor nothing = at::zeros({1});
  return group.Sum(nothing);
}

// Trains as each process does, and returns the seconds of the steps.
absl::StatusOr<double> TrainInGroup(const Flags& flags, std::shared_ptr<RankGroup> group,
                                    bool together) {
  constexpr int kWarmUp = 2;  // chooses kernels and buckets, takes memory
  ASSIGN_OR_RETURN(const auto trainer, MakeTrainer(flags, together ? group : nullptr));
  RETURN_IF_ERROR(Train(*trainer, kWarmUp));
  RETURN_IF_ERROR(WaitForAll(*group));
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(Train(*trainer, flags.steps));
  RETURN_IF_ERROR(WaitForAll(*group));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Takes part until the process is killed.
absl::Status RunMember(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto joined, JoinedRank::Join(flags.join, kVersion, [] { return false; }));
  while (true) {
    ASSIGN_OR_RETURN(std::shared_ptr<RankGroup> group, joined->NextGroup([] { return false; }));
    std::vector<std::string> mode;
    RETURN_IF_ERROR(group->Broadcast(mode));
    RETURN_IF_ERROR(TrainInGroup(flags, std::move(group), mode.at(0) == "together").status());
  }
}

struct Rates {
  double apart, together;  // pictures a second, of all processes
};

absl::StatusOr<Rates> Measure(const Flags& flags, int ranks, const std::string& program) {
  ASSIGN_OR_RETURN(const auto rendezvous, Rendezvous::Listen("127.0.0.1:0", kVersion));
  std::vector<std::unique_ptr<Subprocess>> members;
  for (int i = 1; i < ranks; ++i) {
    ASSIGN_OR_RETURN(auto member, Subprocess::Start(flags.ForMember(program, rendezvous->port())));
    members.push_back(std::move(member));
  }
  std::vector<double> apart, together;
  for (int round = 0; round < flags.rounds; ++round) {
    for (const bool shared : {false, true}) {
      ASSIGN_OR_RETURN(
          std::shared_ptr<RankGroup> group,
          rendezvous->Gather({.ranks = ranks, .at_least = ranks, .timeout = absl::Minutes(2)},
                             [] { return false; }));
      std::vector<std::string> mode = {shared ? "together" : "apart"};
      RETURN_IF_ERROR(group->Broadcast(mode));
      ASSIGN_OR_RETURN(const double seconds, TrainInGroup(flags, std::move(group), shared));
      (shared ? together : apart).push_back(ranks * flags.batch * flags.steps / seconds);
    }
  }
  return Rates{Median(apart), Median(together)};
}

absl::Status Bench(const Flags& flags, const std::string& program) {
  std::vector<TableRow> rows = {{"processes", "apart images/s", "together images/s", "ratio",
                                 "communication", "together over one"}};
  ASSIGN_OR_RETURN(const Rates one, Measure(flags, 1, program));
  rows.push_back({"1", absl::StrFormat("%.1f", one.apart), "", "", "", ""});
  for (const int ranks : flags.ranks) {
    ASSIGN_OR_RETURN(const Rates rates, Measure(flags, ranks, program));
    const double ratio = rates.together / rates.apart;
    rows.push_back({absl::StrCat(ranks), absl::StrFormat("%.1f", rates.apart),
                    absl::StrFormat("%.1f", rates.together), absl::StrFormat("%.3f", ratio),
                    absl::StrFormat("%.1f %%", 100 * std::max(0.0, 1 - ratio)),
                    absl::StrFormat("%.2f", rates.together / one.apart)});
  }
  PrintTable(absl::StrCat("Ranks of one thread that train a UNet of ",
                          absl::StrJoin(flags.channels, ", "), " channels at ", flags.size, " x ",
                          flags.size, ", ", flags.batch, " pictures each"),
             rows, flags.markdown);
  return absl::OkStatus();
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("What training on several ranks costs.");
  app.add_option("--ranks", flags.ranks, "Processes")->capture_default_str();
  app.add_option("--size", flags.size, "Pixels a side")->capture_default_str();
  app.add_option("--channels", flags.channels, "Of each level")->capture_default_str();
  app.add_option("--batch", flags.batch, "Pictures a step, of each process")->capture_default_str();
  app.add_option("--steps", flags.steps, "That are measured")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Of which the median is shown")->capture_default_str();
  app.add_option("--join", flags.join)->group("");  // for the processes that it starts
  app.add_flag("--quick", flags.quick, "A tiny network and few steps: shows that it works");
  app.add_flag("--markdown", flags.markdown, "A table for the documentation");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.ranks = {2};
    flags.size = 8;
    flags.channels = {32, 32};
    flags.batch = 2;
    flags.steps = 2;
    flags.rounds = 1;
  }
  denoise::PrepareProcessForRanks();
  at::set_num_threads(1);
  const absl::Status status =
      flags.join.empty() ? denoise::Bench(flags, "/proc/self/exe") : denoise::RunMember(flags);
  if (!status.ok() && flags.join.empty()) {
    std::fprintf(stderr, "ranks_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
