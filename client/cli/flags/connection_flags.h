// The flags that name the server, the same for every command.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/training_client.h"

namespace denoise {

struct ConnectionFlags {
  std::string server;  // the default once declared, never empty
  bool tls = false;
  std::string tls_ca;  // a PEM file; implies tls
  std::optional<absl::Duration> deadline;
};

// Declares --server, --tls, --tls-ca and --deadline on `app`, which fills `flags` when it parses.
// `flags` outlives `app`.
void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags);

// The options of a client for these flags. InvalidArgument if the certificate file cannot be read.
absl::StatusOr<ClientOptions> MakeClientOptions(const ConnectionFlags& flags);

// Clients for these flags. They do not connect yet. InvalidArgument if the certificate file cannot
// be read.
absl::StatusOr<Client> MakeClient(const ConnectionFlags& flags);
absl::StatusOr<TrainingClient> MakeTrainingClient(const ConnectionFlags& flags);

// "60s", "1m30s", "500ms", or a plain number of seconds. InvalidArgument unless positive.
absl::StatusOr<absl::Duration> ParseDeadline(const std::string& text);

}  // namespace denoise
