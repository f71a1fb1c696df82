// The flags that say which server to talk to, the same for every command.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace denoise {

struct ConnectionFlags {
  std::string server;  // never empty once declared: the default stands in
  bool tls = false;
  std::string tls_ca;  // a PEM file; implies tls
  std::optional<absl::Duration> deadline;
};

// Declares --server, --tls, --tls-ca and --deadline on `app`, which fills `flags` in when it
// parses. `flags` outlives `app`.
void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags);

// What a client for these flags is told. InvalidArgument when the certificate file cannot be read.
absl::StatusOr<ClientOptions> MakeClientOptions(const ConnectionFlags& flags);

// A client for these flags. Does not connect yet. InvalidArgument when the certificate file cannot
// be read.
absl::StatusOr<Client> MakeClient(const ConnectionFlags& flags);

// "60s", "1m30s", "500ms", or a plain number of seconds. InvalidArgument unless positive.
absl::StatusOr<absl::Duration> ParseDeadline(const std::string& text);

}  // namespace denoise
