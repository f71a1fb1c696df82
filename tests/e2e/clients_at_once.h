// Runs several `denoise generate` side by side, and counts what they shared.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/e2e/server_process.h"

namespace denoise {

// Runs the clients with these arguments after "generate" (without --server and --out), `at_once` at
// a time. Returns the first picture of each, in order.
std::vector<std::string> RunClients(const ServerProcess& server,
                                    const std::vector<std::vector<std::string>>& clients,
                                    size_t at_once);

// What the server has done so far, once it has nothing to do.
struct WorkDone {
  double evaluations;
  double trajectories;
};
WorkDone WorkDoneBy(const ServerProcess& server);

}  // namespace denoise
