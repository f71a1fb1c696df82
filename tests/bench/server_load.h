// The same evaluations through the whole server: clients at once over loopback, each with one
// image.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tests/e2e/server_process.h"

namespace denoise {

struct ServerLoadOptions {
  std::string model;  // its id; class 0 is asked for where it has classes
  int clients = 1;
  int steps = 1;
  bool frames = false;  // stream every frame, as PNG
};

struct ServerLoad {
  double evaluations_per_second = 0;  // of one image each, over the wall time of the clients
  double overhead = 0;  // the worker's share of time outside network calls while it had rows
  double images_per_evaluation = 0;  // that shared a network call
};

absl::StatusOr<ServerLoad> MeasureServer(ServerProcess& server, const ServerLoadOptions& options);

}  // namespace denoise
