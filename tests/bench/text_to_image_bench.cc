// What each stage of text to image costs with a latent model of any size:
//
//     denoise new-model /tmp/sd15 --like sd15            a model to measure, if there is none
//     build/release/bin/text_to_image_bench /tmp/sd15
//     build/release/bin/text_to_image_bench /tmp/sd15 --device cuda --dtype float16 --rounds 20
//
// text_to_image_bench.py measures the Python library beside it. For that, --lockstep waits for a
// line on standard input before each measurement, and --json prints one line after each.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/device/devices.h"
#include "tests/bench/text_to_image_stages.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"

namespace denoise {
namespace {

struct Flags {
  std::string model = "tests/data/pipelines/sd15-like";
  std::string device = "cpu";
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> sizes = {256, 512};
  std::vector<int> batches = {1, 2, 4, 8};
  int64_t max_pixels = 512 * 512 * 8;
  int rounds = 3;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  bool json = false;
  bool lockstep = false;
  bool markdown = false;
  bool quick = false;
};

// `side` and `batch` are 0 where they mean nothing.
struct Measurement {
  std::string what;
  int64_t side = 0;
  int batch = 0;
  std::function<double(TextToImageStages&)> seconds;

  auto key() const { return std::tie(what, side, batch); }
};

// In the order that text_to_image_bench.py has, too.
std::vector<Measurement> Measurements(const Flags& flags) {
  std::vector<Measurement> all = {
      {"prompt", 0, 0, [](TextToImageStages& stages) { return stages.EncodePrompt(); }}};
  for (const int64_t side : flags.sizes) {
    for (const int batch : flags.batches) {
      if (side * side * batch > flags.max_pixels) continue;
      all.push_back({"evaluation", side, batch, [side, batch](TextToImageStages& stages) {
                       return stages.Evaluate(side, batch);
                     }});
    }
    all.push_back(
        {"preview", side, 1, [side](TextToImageStages& stages) { return stages.Preview(side); }});
    all.push_back({"encode", side, 1,
                   [side](TextToImageStages& stages) { return stages.EncodePicture(side); }});
    all.push_back({"decode", side, 1,
                   [side](TextToImageStages& stages) { return stages.DecodePicture(side); }});
  }
  return all;
}

void PrintLine(const nlohmann::ordered_json& line) { std::cout << line.dump() << std::endl; }

// False: whoever sends the lines has gone.
bool MayMeasure(const Flags& flags) {
  std::string line;
  return !flags.lockstep || std::getline(std::cin, line);
}

using Results = std::map<std::tuple<std::string, int64_t, int>, std::vector<double>>;

// Runs before the first that counts: they choose kernels, allocate memory and, on a device that has
// graphs, capture one.
int WarmUps(const Flags& flags) { return flags.device == "cpu" ? 1 : 4; }

// Everything once in a round.
Results MeasureRounds(const Flags& flags, TextToImageStages& stages) {
  Results results;
  for (int round = 0; round < flags.rounds; ++round) {
    for (const Measurement& measurement : Measurements(flags)) {
      if (!MayMeasure(flags)) return results;
      for (int i = 0; round == 0 && i < WarmUps(flags); ++i) measurement.seconds(stages);
      const double seconds = measurement.seconds(stages);
      results[measurement.key()].push_back(seconds);
      if (flags.json) {
        PrintLine({{"what", measurement.what},
                   {"side", measurement.side},
                   {"batch", measurement.batch},
                   {"seconds", seconds}});
      }
    }
  }
  return results;
}

std::string Seconds(double seconds) { return absl::StrFormat("%.4f", seconds); }

void PrintResults(const Flags& flags, const LoadCost& load, const Results& results) {
  std::vector<TableRow> rows = {{"stage", "pixels", "batch", "seconds", "of one evaluation"}};
  rows.push_back({"load", "", "", Seconds(load.seconds), ""});
  for (const Measurement& measurement : Measurements(flags)) {
    const double seconds = Median(results.at(measurement.key()));
    const auto one = results.find({"evaluation", measurement.side, 1});
    rows.push_back({measurement.what, measurement.side == 0 ? "" : absl::StrCat(measurement.side),
                    measurement.batch == 0 ? "" : absl::StrCat(measurement.batch), Seconds(seconds),
                    one == results.end()
                        ? ""
                        : absl::StrFormat("%.2f %%", 100 * seconds / Median(one->second))});
  }
  PrintTable(absl::StrCat("Medians of ", flags.rounds, " rounds, ", flags.device, ", ",
                          c10::toString(flags.dtype), ", ", flags.threads, " threads"),
             rows, flags.markdown);
  std::printf("\nLoading took %.0f MiB of memory at its peak, %.2f times the weights (%.0f MiB)\n",
              load.peak_mib, load.peak_mib / load.weights_mib, load.weights_mib);
}

absl::Status Bench(const Flags& flags) {
  at::set_num_threads(flags.threads);
  LoadCost load;
  ASSIGN_OR_RETURN(const std::vector<at::Device> devices, ParseDevices(flags.device));
  const Placement placement = {.device = devices.front(), .dtype = flags.dtype};
  ASSIGN_OR_RETURN(TextToImageStages stages, TextToImageStages::Load(flags.model, placement, load));
  if (flags.json) {
    PrintLine({{"what", "load"},
               {"seconds", load.seconds},
               {"peak_mib", load.peak_mib},
               {"weights_mib", load.weights_mib}});
  }
  const Results results = MeasureRounds(flags, stages);
  if (!flags.json) PrintResults(flags, load, results);
  return absl::OkStatus();
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("What each stage of text to image costs.");
  app.add_option("model", flags.model, "The folder of a latent model that takes prompts")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.add_option("--sizes", flags.sizes, "Sides of square images, in pixels")
      ->capture_default_str();
  app.add_option("--batches", flags.batches, "Images of a network call")->capture_default_str();
  app.add_option("--max-pixels", flags.max_pixels,
                 "Leaves out batches whose images have more pixels together")
      ->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Repetitions, of which the median is shown")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads of the network")->capture_default_str();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:1")->capture_default_str();
  app.add_option("--dtype", flags.dtype, "What the model computes in (float32)")
      ->transform(CLI::Transformer(std::map<std::string, at::ScalarType>{
          {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}}))
      ->type_name("DTYPE");
  app.add_flag("--json", flags.json, "A line of JSON after each measurement, and no table");
  app.add_flag("--lockstep", flags.lockstep,
               "Waits for a line on standard input before each measurement");
  app.add_flag("--markdown", flags.markdown, "A table for the documentation");
  app.add_flag("--quick", flags.quick, "Small images, one round: shows that it works");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.sizes = {32};
    flags.batches = {1, 2};
    flags.rounds = 1;
  }
  if (const absl::Status status = denoise::Bench(flags); !status.ok()) {
    std::fprintf(stderr, "text_to_image_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
