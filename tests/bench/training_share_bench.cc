// What training beside generation costs those who wait for images, and what it gets, in one run:
//
//     build/release/bin/training_share_bench             a table for people
//     build/release/bin/training_share_bench --markdown  the same for the documentation
//
// under OMP_WAIT_POLICY=passive and GOMP_SPINCOUNT=10000, as the server sets them for itself.
//
// Every share is measured in turn with no training at all, round after round, so that the ratios
// mean something on a machine that is not quite idle.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "tests/bench/generation_load.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"

namespace denoise {
namespace {

struct Flags {
  std::string checkpoint = "deploy/models/emoji-32";
  int steps = 10;
  int requests = 40;
  int rounds = 3;
  int batch_size = 64;
  int micro_batch_size = 8;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  bool quick = false;
  bool markdown = false;
};

const std::optional<double> kShares[] = {std::nullopt, 0.0, 0.1, 0.25, 0.5};

std::string Share(const std::optional<double>& share) {
  return share ? absl::StrCat(*share) : "no training";
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

TableRow Row(const std::optional<double>& share, const GenerationTimes& times,
             const GenerationTimes& without, double slices_alone) {
  const auto ratio = [&](double q) {
    return absl::StrFormat(
        "%.2f", Quantile(times.request_seconds, q) / Quantile(without.request_seconds, q));
  };
  const auto milliseconds = [&](double q) {
    return absl::StrFormat("%.0f", 1000 * Quantile(times.request_seconds, q));
  };
  return {Share(share),
          milliseconds(0.5),
          ratio(0.5),
          milliseconds(0.99),
          ratio(0.99),
          absl::StrFormat("%.2f", times.slice_seconds / times.wall_seconds),
          absl::StrFormat("%.2f", times.slices / times.wall_seconds / slices_alone)};
}

absl::Status BenchLoad(const Flags& flags, const GenerationBench& bench, const std::string& title,
                       GenerationLoad load) {
  const double slices_alone = bench.SlicesPerSecondAlone(absl::Seconds(flags.quick ? 0.3 : 3));
  std::vector<GenerationTimes> times(std::size(kShares));
  for (int round = 0; round < flags.rounds; ++round) {
    for (size_t i = 0; i < times.size(); ++i) {
      load.training_share = kShares[i];
      ASSIGN_OR_RETURN(const GenerationTimes measured, bench.Measure(load));
      times[i].Add(measured);
    }
  }
  std::vector<TableRow> rows = {
      {"share", "p50 ms", "ratio", "p99 ms", "ratio", "time in slices", "training speed"}};
  for (size_t i = 0; i < times.size(); ++i) {
    rows.push_back(Row(kShares[i], times[i], times[0], slices_alone));
  }
  PrintTable(absl::StrCat(title, "; a slice takes ", absl::StrFormat("%.0f", 1000 / slices_alone),
                          " ms, an image ", flags.steps, " steps"),
             rows, flags.markdown);
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  ASSIGN_OR_RETURN(const GenerationBench bench,
                   GenerationBench::Load({.checkpoint = flags.checkpoint,
                                          .threads = flags.threads,
                                          .steps = flags.steps,
                                          .batch_size = flags.batch_size,
                                          .micro_batch_size = flags.micro_batch_size}));
  // What the first images pay for is not measured, and they tell how long the pauses should be.
  ASSIGN_OR_RETURN(const GenerationTimes first, bench.Measure({.clients = 1, .requests = 3}));
  const absl::Duration alone = absl::Seconds(Quantile(first.request_seconds, 0.5));
  RETURN_IF_ERROR(BenchLoad(flags, bench, "One client, which pauses as long as an image takes",
                            {.clients = 1, .requests = flags.requests, .mean_pause = alone}));
  return BenchLoad(flags, bench, "Four clients, which do not pause",
                   {.clients = 4, .requests = std::max(1, flags.requests / 2)});
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("What training beside generation costs, and what it gets.");
  app.add_option("--checkpoint", flags.checkpoint, "The model's folder")->capture_default_str();
  app.add_option("--steps", flags.steps, "Evaluations of each image")->capture_default_str();
  app.add_option("--requests", flags.requests, "Images of a client in a round")
      ->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Repetitions, taken together")->capture_default_str();
  app.add_option("--batch-size", flags.batch_size, "Pictures of a training step")
      ->capture_default_str();
  app.add_option("--micro-batch-size", flags.micro_batch_size,
                 "Pictures of a network call in training")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads of the network")->capture_default_str();
  app.add_flag("--quick", flags.quick, "One short round: shows that it works, and little else");
  app.add_flag("--markdown", flags.markdown, "Tables for the documentation");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.steps = 2;
    flags.requests = 2;
    flags.rounds = 1;
  }
  if (const absl::Status status = denoise::Run(flags); !status.ok()) {
    std::fprintf(stderr, "training_share_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
