#include "client/connection_problem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/http_proxy.h"
#include "core/base/file_descriptor.h"

namespace denoise {
namespace {

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* it) const {
    kFree(it);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freer<SSL_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
using Addresses = std::unique_ptr<addrinfo, Freer<freeaddrinfo>>;

struct Endpoint {
  std::string host, port;
};

// Nullopt for what is not one host and a port, such as a Unix socket.
std::optional<Endpoint> EndpointOf(std::string_view address) {
  for (const std::string_view scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (!address.starts_with(scheme)) continue;
    address.remove_prefix(scheme.size());
    break;
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || address.find_first_of("/,") != std::string_view::npos) {
    return std::nullopt;
  }
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return Endpoint{std::string(host), std::string(address.substr(colon + 1))};
}

// A socket that blocks for at most `patience`; -1 if nobody answers.
FileDescriptor Connect(const Endpoint& endpoint, absl::Duration patience) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found) != 0) {
    return FileDescriptor(-1);
  }
  const Addresses addresses(found);
  const timeval time = absl::ToTimeval(patience);
  for (const addrinfo* it = found; it != nullptr; it = it->ai_next) {
    FileDescriptor connection(socket(it->ai_family, SOCK_STREAM | SOCK_CLOEXEC, it->ai_protocol));
    if (connection.get() < 0) continue;
    setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
    setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
    if (connect(connection.get(), it->ai_addr, it->ai_addrlen) == 0) return connection;
  }
  return FileDescriptor(-1);
}

bool Send(int socket, std::string_view bytes) {
  // Not SIGPIPE: the other side may have gone.
  return send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

// One handshake, through buffers: OpenSSL would write to the socket with SIGPIPE.
class Handshake {
 public:
  Handshake(SSL_CTX* context, const Endpoint& endpoint, absl::Duration patience)
      : socket_(Connect(endpoint, patience)), session_(SSL_new(context)) {
    SSL_set_cert_cb(session_.get(), &OnAskedForCertificate, this);
    received_ = BIO_new(BIO_s_mem());
    to_send_ = BIO_new(BIO_s_mem());
    SSL_set_bio(session_.get(), received_, to_send_);  // which owns them
    in_addr ipv4;
    in6_addr ipv6;
    const char* const host = endpoint.host.c_str();
    const bool is_address =
        inet_pton(AF_INET, host, &ipv4) == 1 || inet_pton(AF_INET6, host, &ipv6) == 1;
    if (is_address) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host);
    } else {
      SSL_set1_host(session_.get(), host);
      SSL_set_tlsext_host_name(session_.get(), host);
    }
  }

  bool connected() const { return socket_.get() >= 0; }
  SSL* session() const { return session_.get(); }

  // Whether the other side speaks TLS: it has finished the handshake, or sent an alert.
  bool Shake() {
    return Run([this] { return SSL_connect(session_.get()); }) || alert();
  }
  // Takes what the server says first.
  void Hear() {
    std::array<char, 64> bytes;
    Run([&] { return SSL_read(session_.get(), bytes.data(), bytes.size()); });
  }

  // Whether the server has asked for a certificate, and whether it has closed the connection.
  bool asked_for_certificate() const { return asked_for_certificate_; }
  bool closed() const { return closed_; }
  // The alert that the other side has ended the connection with.
  std::optional<int> alert() const {
    if (reason_ < SSL_AD_REASON_OFFSET) return std::nullopt;
    return reason_ - SSL_AD_REASON_OFFSET;
  }

 private:
  static int OnAskedForCertificate(SSL*, void* handshake) {
    static_cast<Handshake*>(handshake)->asked_for_certificate_ = true;
    return 1;
  }

  bool Run(const std::function<int()>& step) {
    while (true) {
      ERR_clear_error();
      const int result = step();
      const int error = SSL_get_error(session_.get(), result);
      Flush();
      if (result > 0) return true;
      if (error == SSL_ERROR_SSL) reason_ = ERR_GET_REASON(ERR_peek_error());
      if (error != SSL_ERROR_WANT_READ || !Receive()) return false;
    }
  }

  // What cannot be sent is no error: an alert may be waiting from a server that takes no more.
  void Flush() {
    std::array<char, 4096> bytes;
    int size = 0;
    while ((size = BIO_read(to_send_, bytes.data(), bytes.size())) > 0) {
      if (!Send(socket_.get(), {bytes.data(), static_cast<size_t>(size)})) return;
    }
  }

  bool Receive() {
    std::array<char, 4096> bytes;
    const ssize_t size = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    closed_ = size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    if (size <= 0) return false;
    return BIO_write(received_, bytes.data(), static_cast<int>(size)) == size;
  }

  const FileDescriptor socket_;
  const Session session_;
  BIO* received_;
  BIO* to_send_;
  int reason_ = 0;  // of OpenSSL's last error
  bool asked_for_certificate_ = false;
  bool closed_ = false;
};

enum class PlainAnswer { kNone, kHttp1, kHttp2 };

// What is answered to the beginning of a plain connection of gRPC.
PlainAnswer AskInPlain(const Endpoint& endpoint, absl::Duration patience) {
  const FileDescriptor connection = Connect(endpoint, patience);
  constexpr std::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  if (connection.get() < 0 || !Send(connection.get(), kPreface)) return PlainAnswer::kNone;
  std::array<char, 9> header;  // of a frame
  const ssize_t size = recv(connection.get(), header.data(), header.size(), MSG_WAITALL);
  if (size < static_cast<ssize_t>(header.size())) return PlainAnswer::kNone;
  if (std::string_view(header.data(), header.size()).starts_with("HTTP/1.")) {
    return PlainAnswer::kHttp1;
  }
  constexpr char kSettings = 4;
  return header[3] == kSettings ? PlainAnswer::kHttp2 : PlainAnswer::kNone;
}

Bio Reader(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

void Trust(const std::string& pem, SSL_CTX* context) {
  if (pem.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    const char* const roots = std::getenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH");
    if (roots != nullptr) SSL_CTX_load_verify_locations(context, roots, nullptr);
    return;
  }
  const Bio reader = Reader(pem);
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);  // an authority need not be a root
  while (const Certificate root{PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(store, root.get());
  }
}

void Show(const TlsOptions& tls, SSL_CTX* context) {
  const Bio chain = Reader(tls.certificate), key_reader = Reader(tls.key);
  bool is_first = true;
  while (Certificate each{PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)}) {
    if (std::exchange(is_first, false)) {
      SSL_CTX_use_certificate(context, each.get());
    } else {
      SSL_CTX_add1_chain_cert(context, each.get());
    }
  }
  const PrivateKey key(PEM_read_bio_PrivateKey(key_reader.get(), nullptr, nullptr, nullptr));
  if (key) SSL_CTX_use_PrivateKey(context, key.get());
}

// As gRPC is set up for `tls`, except that what is wrong with the server's certificate ends nothing.
Context ContextFor(const TlsOptions& tls) {
  Context context(SSL_CTX_new(TLS_client_method()));
  constexpr unsigned char kProtocol[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kProtocol, sizeof(kProtocol));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  Trust(tls.root_certificates, context.get());
  Show(tls, context.get());
  return context;
}

std::string NameText(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name.d.dNSName)),
            static_cast<size_t>(ASN1_STRING_length(name.d.dNSName))};
  }
  if (name.type != GEN_IPADD) return "";
  const int family = ASN1_STRING_length(name.d.iPAddress) == 4 ? AF_INET : AF_INET6;
  std::array<char, INET6_ADDRSTRLEN> text;
  const bool is_text = inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text.data(),
                                 text.size()) != nullptr;
  return is_text ? text.data() : "";
}

// The first names that a certificate is for.
std::string NamesOf(const X509* certificate) {
  constexpr size_t kMostNames = 5;
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> texts;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string text = NameText(*sk_GENERAL_NAME_value(names.get(), i));
    if (!text.empty() && texts.size() < kMostNames) texts.push_back(text);
  }
  return texts.empty() ? "no host" : absl::StrJoin(texts, ", ");
}

std::string DayOf(const ASN1_TIME* time) {
  tm day{};
  if (ASN1_TIME_to_tm(time, &day) != 1) return "an unknown day";
  return absl::FormatTime("%Y-%m-%d", absl::FromTM(day, absl::UTCTimeZone()), absl::UTCTimeZone());
}

std::optional<ConnectionProblem> ProblemOfCertificate(const X509* certificate, long verified,
                                                      const Endpoint& endpoint) {
  if (verified == X509_V_OK || certificate == nullptr) return std::nullopt;
  switch (verified) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return ConnectionProblem{
          kTlsOtherHost, absl::StrCat("the server's certificate is for ", NamesOf(certificate),
                                      ", not for ", endpoint.host)};
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return ConnectionProblem{kTlsExpired, absl::StrCat("the server's certificate expired on ",
                                                         DayOf(X509_get0_notAfter(certificate)))};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return ConnectionProblem{kTlsNotYetValid,
                               absl::StrCat("the server's certificate is not valid before ",
                                            DayOf(X509_get0_notBefore(certificate)))};
    default:
      return ConnectionProblem{
          kTlsUnknownAuthority,
          absl::StrCat("the server's certificate is not from an authority that "
                       "this client trusts (",
                       X509_verify_cert_error_string(verified), ")")};
  }
}

ConnectionProblem NotGrpc() { return {kNotGrpc, "HTTP/1.1 is served there, not gRPC"}; }

bool IsAboutCertificates(int alert) {
  constexpr int kAlerts[] = {SSL_AD_HANDSHAKE_FAILURE,  // of TLS 1.2: there is none
                             SSL_AD_CERTIFICATE_REQUIRED,
                             SSL_AD_BAD_CERTIFICATE,
                             SSL_AD_UNSUPPORTED_CERTIFICATE,
                             SSL_AD_CERTIFICATE_REVOKED,
                             SSL_AD_CERTIFICATE_EXPIRED,
                             SSL_AD_CERTIFICATE_UNKNOWN,
                             SSL_AD_UNKNOWN_CA};
  return std::find(std::begin(kAlerts), std::end(kAlerts), alert) != std::end(kAlerts);
}

std::optional<ConnectionProblem> ProblemOfPlainClient(const Endpoint& endpoint,
                                                      absl::Duration patience) {
  const Context context = ContextFor({});
  {
    Handshake handshake(context.get(), endpoint, patience);
    if (!handshake.connected()) return std::nullopt;
    if (handshake.Shake()) {
      return ConnectionProblem{kTlsExpected, "the server speaks TLS, and this client does not"};
    }
  }
  if (AskInPlain(endpoint, patience) != PlainAnswer::kHttp1) return std::nullopt;
  return NotGrpc();
}

std::optional<ConnectionProblem> ProblemOfTlsClient(const TlsOptions& tls, const Endpoint& endpoint,
                                                    absl::Duration patience) {
  const Context context = ContextFor(tls);
  auto connection = std::make_unique<Handshake>(context.get(), endpoint, patience);
  Handshake& handshake = *connection;
  if (!handshake.connected()) return std::nullopt;
  if (!handshake.Shake()) {
    connection.reset();  // a server may serve one at a time
    if (AskInPlain(endpoint, patience) == PlainAnswer::kNone) return std::nullopt;
    return ConnectionProblem{kTlsNotExpected,
                             "the server does not speak TLS, and this client does"};
  }
  const Certificate certificate(SSL_get1_peer_certificate(handshake.session()));
  auto problem =
      ProblemOfCertificate(certificate.get(), SSL_get_verify_result(handshake.session()), endpoint);
  if (problem) return problem;
  // With TLS 1.3 a server refuses a client's certificate only after the handshake.
  if (!handshake.alert()) handshake.Hear();
  if (handshake.alert() == SSL_AD_NO_APPLICATION_PROTOCOL) return NotGrpc();
  const bool is_refused = handshake.alert() ? IsAboutCertificates(*handshake.alert())
                                            : handshake.closed();  // without a word, as gRPC does
  if (!handshake.asked_for_certificate() || !is_refused) return std::nullopt;
  if (tls.certificate.empty()) {
    return ConnectionProblem{
        kTlsClientCertificateMissing,
        "the server asks clients for a certificate, and this client shows none"};
  }
  return ConnectionProblem{kTlsClientCertificateRefused,
                           handshake.alert() == SSL_AD_CERTIFICATE_EXPIRED
                               ? "the server refuses this client's certificate: it has expired"
                               : "the server refuses this client's certificate"};
}

}  // namespace

std::optional<ConnectionProblem> FindConnectionProblem(const ClientOptions& options,
                                                       absl::Duration patience) {
  const std::optional<Endpoint> endpoint = EndpointOf(options.address);
  const bool is_direct =
      !ProxyFor(options.address, [](const char* name) { return std::getenv(name); });
  if (!endpoint || !is_direct) return std::nullopt;
  return options.tls ? ProblemOfTlsClient(*options.tls, *endpoint, patience)
                     : ProblemOfPlainClient(*endpoint, patience);
}

}  // namespace denoise
