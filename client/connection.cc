#include "client/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "client/http_proxy.h"

namespace denoise {
namespace {

constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

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

void Connection::Prepare(const ClientOptions& options, grpc::ClientContext& context,
                         absl::Duration deadline) {
  if (!options.token.empty() && MaySendToken(options)) {
    context.AddMetadata("authorization", absl::StrCat("Bearer ", options.token));
  }
  if (deadline > kLongestDeadline) return;  // infinite, or past what the clock can say
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

}  // namespace denoise
