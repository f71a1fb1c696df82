#include "client/cli/flags/connection_flags.h"

#include <CLI/Error.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/flags/lost_connection.h"
#include "client/server_address.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr char kServerVariable[] = "DENOISED_SERVER";
constexpr char kTokenVariable[] = "DENOISED_TOKEN";

std::string DefaultServer() {
  const char* const server = std::getenv(kServerVariable);
  return server != nullptr && *server != '\0' ? server : ClientOptions().address;
}

absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxFileBytes);
  if (!text.ok()) return InvalidField(flag, std::string(text.status().message()));
  return text;
}

absl::Status ReadTlsFiles(const ConnectionFlags& flags, ClientOptions& options) {
  const struct {
    const char* flag;
    const std::string& path;
    std::string TlsOptions::*text;
  } files[] = {{"--tls-ca", flags.tls_ca, &TlsOptions::root_certificates},
               {"--tls-cert", flags.tls_cert, &TlsOptions::certificate},
               {"--tls-key", flags.tls_key, &TlsOptions::key}};
  if (flags.tls) options.tls.emplace();
  for (const auto& file : files) {
    if (file.path.empty()) continue;
    if (!options.tls) options.tls.emplace();
    ASSIGN_OR_RETURN((*options.tls).*file.text, ReadFlagFile(file.flag, file.path));
  }
  return absl::OkStatus();
}

// Of --token-file, or else of the environment. Never part of a message.
absl::StatusOr<std::string> ReadToken(const ConnectionFlags& flags) {
  const char* const variable = std::getenv(kTokenVariable);
  std::string token = variable == nullptr ? "" : variable;
  if (!flags.token_file.empty()) {
    ASSIGN_OR_RETURN(token, ReadFlagFile("--token-file", flags.token_file));
  }
  absl::StripAsciiWhitespace(&token);
  const bool is_token =
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (is_token) return token;
  return InvalidField(flags.token_file.empty() ? kTokenVariable : "--token-file",
                      "must be one token of printable ASCII characters without spaces");
}

absl::Status ReadToken(const ConnectionFlags& flags, ClientOptions& options) {
  ASSIGN_OR_RETURN(options.token, ReadToken(flags));
  options.token_over_plaintext = flags.token_over_plaintext;
  if (options.token.empty() || MaySendToken(options)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the token would be sent to ", options.address,
                   " without encryption, and anybody on the way could use it. Add --tls, or "
                   "--token-over-plaintext if the network is yours"));
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDeadline(const std::string& text) {
  double seconds = 0;
  absl::Duration deadline;
  if (absl::SimpleAtod(text, &seconds) && std::isfinite(seconds)) {
    deadline = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &deadline)) {
    deadline = absl::ZeroDuration();
  }
  if (deadline > absl::ZeroDuration()) return deadline;
  return absl::InvalidArgumentError(
      absl::StrCat("must be a positive duration such as 60s or 1m30s; is ", text));
}

void AddConnectionFlags(CLI::App& app, ConnectionFlags& flags) {
  flags.server = DefaultServer();
  const auto parse_server = [&flags](const std::string& text) {
    const absl::Status good = CheckServerAddress(text);
    if (!good.ok()) throw CLI::ValidationError("--server", std::string(good.message()));
    flags.server = text;
  };
  const auto parse_deadline = [&flags](const std::string& text) {
    const absl::StatusOr<absl::Duration> deadline = ParseDeadline(text);
    if (!deadline.ok())
      throw CLI::ValidationError("--deadline", std::string(deadline.status().message()));
    flags.deadline = *deadline;
  };
  app.add_option_function<std::string>(
         "--server", parse_server,
         "The address of the server. Default: $DENOISED_SERVER, otherwise 127.0.0.1:50051")
      ->type_name("HOST:PORT")
      ->group("Connection");
  app.add_option_function<std::string>("--deadline", parse_deadline,
                                       "Give up on each call after this long, such as 60s or 1m30s")
      ->type_name("DURATION")
      ->group("Connection");
  app.add_flag("--tls", flags.tls, "Encrypt; trust the certificates of this system")
      ->group("Connection");
  app.add_option("--tls-ca", flags.tls_ca, "Encrypt; trust the certificates in this PEM file")
      ->type_name("FILE")
      ->group("Connection");
  auto* cert = app.add_option("--tls-cert", flags.tls_cert,
                              "Encrypt; show this certificate chain (PEM) to the server")
                   ->type_name("FILE")
                   ->group("Connection");
  auto* key = app.add_option("--tls-key", flags.tls_key, "The private key of --tls-cert, in PEM")
                  ->type_name("FILE")
                  ->group("Connection");
  cert->needs(key);
  key->needs(cert);
  app.add_option("--token-file", flags.token_file,
                 "A file with the token to show. Default: $DENOISED_TOKEN, otherwise none")
      ->type_name("FILE")
      ->group("Connection");
  app.add_flag("--token-over-plaintext", flags.token_over_plaintext,
               "Send the token to other machines without encryption, too")
      ->group("Connection");
}

absl::StatusOr<ClientOptions> MakeClientOptions(const ConnectionFlags& flags) {
  ClientOptions options;
  if (const absl::Status good = CheckServerAddress(flags.server); !good.ok()) {
    return InvalidField(kServerVariable, std::string(good.message()));
  }
  options.address = flags.server;
  RETURN_IF_ERROR(ReadTlsFiles(flags, options));
  RETURN_IF_ERROR(ReadToken(flags, options));
  if (flags.deadline.has_value()) {
    options.generate_deadline = *flags.deadline;
    options.unary_deadline = *flags.deadline;
  }
  RememberConnection(options, absl::Now() + flags.deadline.value_or(absl::InfiniteDuration()));
  return options;
}

absl::StatusOr<Client> MakeClient(const ConnectionFlags& flags) {
  ASSIGN_OR_RETURN(ClientOptions options, MakeClientOptions(flags));
  return Client(std::move(options));
}

absl::StatusOr<TrainingClient> MakeTrainingClient(const ConnectionFlags& flags) {
  ASSIGN_OR_RETURN(ClientOptions options, MakeClientOptions(flags));
  return TrainingClient(std::move(options));
}

}  // namespace denoise
