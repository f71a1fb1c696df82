#include "client/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>

namespace denoise {
namespace {

constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

std::shared_ptr<grpc::ChannelCredentials> Credentials(const ClientOptions& options) {
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls->root_certificates;
  return grpc::SslCredentials(ssl);
}

}  // namespace

Connection::Connection(ClientOptions options)
    : options_(std::move(options)),
      channel_(grpc::CreateCustomChannel(options_.address, Credentials(options_),
                                         ToChannelArguments(options_))) {}

void Connection::SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  if (deadline > kLongestDeadline) return;  // infinite, or past what the clock can say
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

}  // namespace denoise
