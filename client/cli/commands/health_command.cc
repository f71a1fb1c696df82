#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/flags/connection_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

constexpr char kExamples[] = R"(  denoise health && echo ready
  denoise health --service denoised.v1.ImageGeneration --deadline 2s

The exit code is 0 if the server is serving, 3 if it is not serving or not
reachable, and 5 if it has no such service.
)";

struct HealthFlags {
  ConnectionFlags connection;
  std::string service;
  bool json = false;
};

const char* HealthName(Health health) {
  switch (health) {
    case Health::kServing:
      return "SERVING";
    case Health::kNotServing:
      return "NOT_SERVING";
    case Health::kUnknown:
      return "UNKNOWN";
  }
  return "UNKNOWN";
}

ExitCode RunHealth(const HealthFlags& flags) {
  absl::StatusOr<Client> client = MakeClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  const absl::StatusOr<Health> health = client->CheckHealth(flags.service);
  if (!health.ok()) return ReportError(health.status(), flags.json);
  if (flags.json) {
    const nlohmann::ordered_json line = {{"service", flags.service},
                                         {"status", HealthName(*health)}};
    std::puts(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else {
    std::puts(HealthName(*health));
  }
  return *health == Health::kServing ? kExitOk : kExitUnavailable;
}

}  // namespace

Command AddHealthCommand(CLI::App& app) {
  const auto flags = std::make_shared<HealthFlags>();
  app.add_option("--service", flags->service,
                 "The service to ask about, such as denoised.v1.ImageGeneration. Default: the "
                 "whole server")
      ->type_name("NAME");
  app.add_flag("--json", flags->json,
               "Print one line of JSON with service and status, and nothing else");
  AddConnectionFlags(app, flags->connection);
  SetExamples(app, kExamples);
  return [flags] { return RunHealth(*flags); };
}

}  // namespace denoise
