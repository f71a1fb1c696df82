#include "client/cli/flags/connection_flags.h"

#include <CLI/Error.hpp>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kMaxCertificateBytes = 1 << 20;
constexpr char kServerVariable[] = "DENOISED_SERVER";

std::string DefaultServer() {
  const char* const server = std::getenv(kServerVariable);
  return server != nullptr && *server != '\0' ? server : ClientOptions().address;
}

absl::StatusOr<std::string> ReadCertificates(const std::string& path) {
  absl::StatusOr<std::string> pem = ReadFile(path, kMaxCertificateBytes);
  if (!pem.ok()) return InvalidField("--tls-ca", std::string(pem.status().message()));
  return pem;
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
  const auto parse_deadline = [&flags](const std::string& text) {
    const absl::StatusOr<absl::Duration> deadline = ParseDeadline(text);
    if (!deadline.ok())
      throw CLI::ValidationError("--deadline", std::string(deadline.status().message()));
    flags.deadline = *deadline;
  };
  app.add_option("--server", flags.server,
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
}

absl::StatusOr<ClientOptions> MakeClientOptions(const ConnectionFlags& flags) {
  ClientOptions options;
  options.address = flags.server;
  if (flags.tls) options.tls.emplace();
  if (!flags.tls_ca.empty()) {
    options.tls.emplace();
    ASSIGN_OR_RETURN(options.tls->root_certificates, ReadCertificates(flags.tls_ca));
  }
  if (flags.deadline.has_value()) {
    options.generate_deadline = *flags.deadline;
    options.unary_deadline = *flags.deadline;
  }
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
