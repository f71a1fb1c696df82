#include "server/connections/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "core/base/status_macros.h"

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

using Certificate = std::unique_ptr<X509, decltype([](X509* it) { X509_free(it); })>;
using Names =
    std::unique_ptr<GENERAL_NAMES, decltype([](GENERAL_NAMES* it) { GENERAL_NAMES_free(it); })>;

// Sessions are not resumed: every handshake checks the certificate against the CAs of today.
absl::Status AskForCertificates(const std::string& client_ca, asio::ssl::context& context) {
  error_code error;
  context.add_certificate_authority(asio::buffer(client_ca), error);
  if (error)
    return absl::InvalidArgumentError("--tls-client-ca: the file has no certificate in PEM");
  context.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  SSL_CTX* const handle = context.native_handle();
  SSL_CTX_set_session_cache_mode(handle, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(handle, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(handle, 0);
  return absl::OkStatus();
}

// In UTF-8; whoever uses it checks what is in it, NUL bytes included.
std::string TextOf(const ASN1_STRING* text) {
  unsigned char* bytes = nullptr;
  const int size = ASN1_STRING_to_UTF8(&bytes, text);
  if (size < 0) return "";
  const std::string utf8(reinterpret_cast<char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return utf8;
}

std::string FirstDnsName(X509* certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) return TextOf(name->d.dNSName);
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<asio::ssl::context>> MakeTlsContext(
    const TlsFiles& files, const std::string_view& protocol) {
  if (files.certificate.empty()) return nullptr;
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_alpn_select_cb(context->native_handle(), &SelectProtocol,
                             const_cast<std::string_view*>(&protocol));
  error_code error;
  context->use_certificate_chain(asio::buffer(files.certificate), error);
  if (error) return absl::InvalidArgumentError("--tls-cert: the file has no certificate in PEM");
  context->use_private_key(asio::buffer(files.key), asio::ssl::context::pem, error);
  if (error || SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return absl::InvalidArgumentError(
        "--tls-key: the file has no private key in PEM that matches --tls-cert");
  }
  if (!files.client_ca.empty()) RETURN_IF_ERROR(AskForCertificates(files.client_ca, *context));
  return context;
}

absl::Time ExpiryOf(const TlsFiles& files) {
  using Bio = std::unique_ptr<BIO, decltype([](BIO* it) { BIO_free(it); })>;
  const Bio bytes(
      BIO_new_mem_buf(files.certificate.data(), static_cast<int>(files.certificate.size())));
  absl::Time first = absl::InfiniteFuture();
  while (const Certificate certificate{PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr)}) {
    std::tm time = {};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &time) != 1) continue;
    first = std::min(first, absl::FromTM(time, absl::UTCTimeZone()));
  }
  ERR_clear_error();  // that there are no more
  return first;
}

std::string CertificateNameOf(SSL* connection) {
  const Certificate certificate(SSL_get1_peer_certificate(connection));
  if (!certificate) return "";
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  const int first = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (first < 0) return FirstDnsName(certificate.get());
  if (X509_NAME_get_index_by_NID(subject, NID_commonName, first) >= 0) return "";
  return TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, first)));
}

}  // namespace denoise
