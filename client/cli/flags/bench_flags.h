// The flags of `denoise bench`.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/flags/connection_flags.h"

namespace denoise {

struct BenchFlags {
  // The server: one that is named, or one of its own.
  ConnectionFlags connection;
  bool has_server = false;  // --server was given: its default does not count
  std::string models;
  std::vector<std::string> server_flags;
  std::string tenant_header;

  // The load.
  std::string mix, trace, record;  // files
  std::optional<double> rate;      // requests a second
  std::optional<double> load;      // of the capacity
  std::optional<double> capacity;  // requests a second
  int capacity_calls = 32;
  std::optional<int64_t> requests;
  std::optional<absl::Duration> duration;
  absl::Duration warmup;
  int max_in_flight = 1000;
  uint64_t seed = 0;

  bool compare = false;
  std::vector<double> loads = {0.5, 0.8, 1, 1.5, 3};
  std::vector<std::string> batchings = {"evaluation", "request", "none"};

  // The report.
  std::string json, plot;  // files
  bool markdown = false;
  bool overwrite = false;
};

// Declares the flags on `app`, which fills `flags` when it parses. `flags` outlives `app`.
void AddBenchFlags(CLI::App& app, BenchFlags& flags);

// InvalidArgument for flags that do not fit together, as far as `app` cannot tell.
absl::Status CheckBenchFlags(const BenchFlags& flags);

}  // namespace denoise
