// What the server costs over the bare network, in one run:
//
//     build/release/bin/server_bench             a table for people
//     build/release/bin/server_bench --markdown  the same for the documentation
//
// All measurements share one machine, clients included. Each is repeated, interleaved with what it
// is compared to, and the median is shown, so that the ratios mean something on a machine that is
// not quite idle.
#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "tests/bench/network_loop.h"
#include "tests/bench/server_load.h"
#include "tests/e2e/server_process.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"

namespace denoise {
namespace {

struct Flags {
  std::string models = "deploy/models";
  std::string model = "emoji-32";
  int steps = 60;
  int rounds = 5;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  bool quick = false;
  bool markdown = false;
};

std::string Rate(double per_second) { return absl::StrFormat("%.1f", per_second); }
std::string Ratio(double a, double b) { return absl::StrFormat("%.3f", a / b); }
std::string Percent(double share) { return absl::StrFormat("%.2f %%", 100 * share); }

// The median over rounds of the bare network, of the server, and of the server with every frame
// streamed.
absl::StatusOr<TableRow> MeasureClients(const Flags& flags, ServerProcess& server, int clients) {
  std::vector<double> bare, served, framed, overhead, framed_overhead, together;
  for (int round = 0; round < flags.rounds; ++round) {
    ASSIGN_OR_RETURN(const double rows,
                     MeasureNetworkLoop({.checkpoint = flags.models + "/" + flags.model,
                                         .threads = flags.threads,
                                         .rows = clients,
                                         .evaluations = flags.steps}));
    ServerLoadOptions load{.model = flags.model, .clients = clients, .steps = flags.steps};
    ASSIGN_OR_RETURN(const ServerLoad plain, MeasureServer(server, load));
    load.frames = true;
    ASSIGN_OR_RETURN(const ServerLoad with_frames, MeasureServer(server, load));
    bare.push_back(rows);
    served.push_back(plain.evaluations_per_second);
    overhead.push_back(plain.overhead);
    together.push_back(plain.images_per_evaluation);
    framed.push_back(with_frames.evaluations_per_second);
    framed_overhead.push_back(with_frames.overhead);
  }
  return TableRow{absl::StrCat(clients),
                  Rate(Median(bare)),
                  Rate(Median(served)),
                  Ratio(Median(served), Median(bare)),
                  Percent(Median(overhead)),
                  Rate(Median(framed)),
                  Ratio(Median(framed), Median(served)),
                  Percent(Median(framed_overhead)),
                  absl::StrFormat("%.1f", Median(together))};
}

absl::Status BenchServer(const Flags& flags) {
  ASSIGN_OR_RETURN(const auto server,
                   ServerProcess::Start(flags.models, {"--threads", absl::StrCat(flags.threads)}));
  std::vector<TableRow> rows = {{"clients", "bare network/s", "server/s", "ratio", "overhead",
                                 "every frame/s", "ratio", "overhead", "images/call"}};
  // What the first request pays for (connections, memory) is not what is measured.
  RETURN_IF_ERROR(
      MeasureServer(*server, {.model = flags.model, .clients = 16, .steps = 2}).status());
  for (const int clients : {1, 4, 16}) {
    ASSIGN_OR_RETURN(TableRow row, MeasureClients(flags, *server, clients));
    rows.push_back(std::move(row));
  }
  PrintTable(absl::StrCat("Evaluations of one image each, ", flags.model, ", ", flags.threads,
                          " threads, ", flags.steps, " steps"),
             rows, flags.markdown);
  return absl::OkStatus();
}

absl::Status BenchBatchInvariance(const Flags& flags) {
  std::vector<TableRow> rows = {{"rows/call", "invariant/s", "free kernels/s", "ratio"}};
  for (const int batch : {1, 2, 4, 8, 16}) {
    std::vector<double> invariant, free;
    for (int round = 0; round < flags.rounds; ++round) {
      NetworkLoopOptions loop{.checkpoint = flags.models + "/" + flags.model,
                              .threads = flags.threads,
                              .rows = batch,
                              .evaluations = std::max(1, flags.steps / 2)};
      ASSIGN_OR_RETURN(const double with, MeasureNetworkLoop(loop));
      loop.batch_invariant = false;
      ASSIGN_OR_RETURN(const double without, MeasureNetworkLoop(loop));
      invariant.push_back(with);
      free.push_back(without);
    }
    rows.push_back({absl::StrCat(batch), Rate(Median(invariant)), Rate(Median(free)),
                    Ratio(Median(invariant), Median(free))});
  }
  PrintTable("Rows of the bare network, with and without batch invariance", rows, flags.markdown);
  return absl::OkStatus();
}

absl::Status Bench(const Flags& flags) {
  RETURN_IF_ERROR(BenchServer(flags));
  return BenchBatchInvariance(flags);
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("What the server costs over the bare network.");
  app.add_option("--models", flags.models, "The folder of models")->capture_default_str();
  app.add_option("--model", flags.model, "Which of them")->capture_default_str();
  app.add_option("--steps", flags.steps, "Evaluations of each image")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Repetitions, of which the median is shown")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads of the network")->capture_default_str();
  app.add_flag("--quick", flags.quick, "One short round: shows that it works, and little else");
  app.add_flag("--markdown", flags.markdown, "Tables for the documentation");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.steps = 3;
    flags.rounds = 1;
  }
  if (const absl::Status status = denoise::Bench(flags); !status.ok()) {
    std::fprintf(stderr, "server_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
