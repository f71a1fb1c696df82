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
  std::string tls_ca;  // a PEM file; implies tls, as the next two
  std::string tls_cert;
  std::string tls_key;
  std::string token_file;
  bool token_over_plaintext = false;
  std::optional<absl::Duration> deadline;
};

// Declares --server, --deadline, --tls, --token-file and what belongs to them on `app`, which fills
// `flags` when it parses. `flags` outlives `app`.
void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags);

// The options of a client for these flags. InvalidArgument if a file cannot be read, or the token
// would be sent where others can read it. The last ones are those that ExplainLostConnection
// (lost_connection.h) looks at.
absl::StatusOr<ClientOptions> MakeClientOptions(const ConnectionFlags& flags);

// Clients for these flags. They do not connect yet. Errors are those of MakeClientOptions.
absl::StatusOr<Client> MakeClient(const ConnectionFlags& flags);
absl::StatusOr<TrainingClient> MakeTrainingClient(const ConnectionFlags& flags);

// "60s", "1m30s", "500ms", or a plain number of seconds. InvalidArgument unless positive.
absl::StatusOr<absl::Duration> ParseDeadline(const std::string& text);

}  // namespace denoise
