#include "server/connections/tls_context.h"

#include <openssl/ssl.h>

namespace denoise {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

int SelectProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_length,
                   const unsigned char* offered, unsigned int offered_length, void* data) {
  const auto& protocol = *static_cast<const std::string_view*>(data);
  unsigned char* selected = nullptr;
  const int result = SSL_select_next_proto(
      &selected, chosen_length, reinterpret_cast<const unsigned char*>(protocol.data()),
      static_cast<unsigned int>(protocol.size()), offered, offered_length);
  *chosen = selected;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

absl::StatusOr<std::unique_ptr<asio::ssl::context>> MakeTlsContext(
    const std::string& certificate, const std::string& key, const std::string_view& protocol) {
  if (certificate.empty()) return nullptr;
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), &SelectProtocol,
                             const_cast<std::string_view*>(&protocol));
  error_code error;
  context->use_certificate_chain(asio::buffer(certificate), error);
  if (error) return absl::InvalidArgumentError("--tls-cert: the file has no certificate in PEM");
  context->use_private_key(asio::buffer(key), asio::ssl::context::pem, error);
  if (error || SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return absl::InvalidArgumentError(
        "--tls-key: the file has no private key in PEM that matches --tls-cert");
  }
  return context;
}

}  // namespace denoise
