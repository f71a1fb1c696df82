#include "client/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/connection_problem.h"
#include "client/http_proxy.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);
constexpr absl::Duration kPatienceWithProblems = absl::Seconds(2);

std::shared_ptr<grpc::ChannelCredentials> Credentials(const ClientOptions& options) {
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls->root_certificates;
  ssl.pem_cert_chain = options.tls->certificate;
  ssl.pem_private_key = options.tls->key;
  return grpc::SslCredentials(ssl);
}

std::string PeerOf(const ClientOptions& options) {
  const auto proxy = ProxyFor(options.address, [](const char* name) { return std::getenv(name); });
  if (!proxy) return options.address;
  return absl::StrCat(options.address, " through the proxy ", proxy->url, " of the variable ",
                      proxy->variable);
}

}  // namespace

Connection::Connection(ClientOptions options)
    : options_(std::move(options)),
      peer_(PeerOf(options_)),
      channel_(grpc::CreateCustomChannel(options_.address, Credentials(options_),
                                         ToChannelArguments(options_))) {}

absl::Status Connection::StatusOf(const grpc::Status& status, const ClientOptions& options,
                                  const std::string& peer) {
  absl::Status result = StatusFromGrpc(status, peer);
  const bool is_answer = result.GetPayload(kRpcStatusUrl).has_value();
  if (!absl::IsUnavailable(result) || is_answer || !options.explains_connections) return result;
  const auto problem = FindConnectionProblem(options, absl::Now() + kPatienceWithProblems);
  if (!problem) return result;
  return WithErrorReason(
      absl::UnavailableError(absl::StrCat("no connection to ", peer, ": ", problem->description)),
      problem->reason);
}

void Connection::Prepare(const ClientOptions& options, grpc::ClientContext& context,
                         absl::Duration deadline) {
  if (!options.token.empty() && MaySendToken(options)) {
    context.AddMetadata("authorization", absl::StrCat("Bearer ", options.token));
  }
  if (deadline > kLongestDeadline) return;  // infinite, or past what the clock can say
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

}  // namespace denoise
