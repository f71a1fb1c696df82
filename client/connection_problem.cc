#include "client/connection_problem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/http_proxy.h"
#include "client/rejected_certificate.h"
#include "client/server_address.h"

namespace denoise {
namespace {

using Context = std::unique_ptr<SSL_CTX, CDeleter<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, CDeleter<SSL_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, CDeleter<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, CDeleter<BIO_free>>;

// Where the server is, and until when to look at it.
struct Target {
  const Endpoint& endpoint;
  const std::vector<SocketAddress>& addresses;
  absl::Time deadline;

  // Leaves half of the time for what comes after.
  Target FirstHalf() const {
    return {endpoint, addresses, absl::Now() + (deadline - absl::Now()) / 2};
  }
};

// What the other side says first.
enum class FirstBytes { kNone, kTlsRecord, kOther };

FirstBytes KindOf(std::string_view bytes) {
  constexpr char kFirstType = 20, kLastType = 23, kVersion = 3;  // RFC 8446, 5.1
  if (bytes.empty()) return FirstBytes::kNone;
  if (bytes[0] < kFirstType || bytes[0] > kLastType) return FirstBytes::kOther;
  if (bytes.size() == 1) return FirstBytes::kNone;
  return bytes[1] == kVersion ? FirstBytes::kTlsRecord : FirstBytes::kOther;
}

// One handshake, through buffers: OpenSSL would write to the socket with SIGPIPE.
class Handshake {
 public:
  Handshake(SSL_CTX* context, const Target& target)
      : socket_(target.addresses, target.deadline), session_(SSL_new(context)) {
    SSL_set_app_data(session_.get(), this);
    SSL_set_verify(session_.get(), SSL_VERIFY_PEER, &OnVerified);
    SSL_set_cert_cb(session_.get(), &OnAskedForCertificate, this);
    received_ = BIO_new(BIO_s_mem());
    to_send_ = BIO_new(BIO_s_mem());
    SSL_set_bio(session_.get(), received_, to_send_);  // which owns them
    in_addr ipv4;
    in6_addr ipv6;
    const char* const host = target.endpoint.host.c_str();
    const bool is_address =
        inet_pton(AF_INET, host, &ipv4) == 1 || inet_pton(AF_INET6, host, &ipv6) == 1;
    if (is_address) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host);
    } else {
      SSL_set1_host(session_.get(), host);
      SSL_set_tlsext_host_name(session_.get(), host);
    }
  }

  bool connected() const { return socket_.connected(); }

  // Shakes hands as far as the other side does, and takes what it says first.
  void Run() {
    std::array<char, 64> bytes;
    // With TLS 1.3 a server refuses a client's certificate only after the handshake.
    if (Run([this] { return SSL_connect(session_.get()); })) {
      Run([&] { return SSL_read(session_.get(), bytes.data(), bytes.size()); });
    }
  }

  FirstBytes first_bytes() const { return KindOf(first_bytes_); }
  // What is wrong with the certificates of the server; the handshake has ended then.
  const RejectedCertificate& rejection() const { return rejection_; }
  // Whether the server has asked for a certificate, and whether it has closed the connection.
  bool asked_for_certificate() const { return asked_for_certificate_; }
  bool closed() const { return socket_.closed(); }
  // The alert that the other side has ended the connection with.
  std::optional<int> alert() const { return alert_; }

 private:
  static int OnAskedForCertificate(SSL*, void* handshake) {
    static_cast<Handshake*>(handshake)->asked_for_certificate_ = true;
    return 1;
  }

  static int OnVerified(int is_good, X509_STORE_CTX* store) {
    auto* const session =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    if (is_good == 1) return 1;
    X509* const certificate = X509_STORE_CTX_get_current_cert(store);
    if (certificate != nullptr) X509_up_ref(certificate);
    static_cast<Handshake*>(SSL_get_app_data(session))->rejection_ = {
        .error = X509_STORE_CTX_get_error(store),
        .depth = X509_STORE_CTX_get_error_depth(store),
        .certificate = Certificate(certificate)};
    return 0;
  }

  bool Run(const std::function<int()>& step) {
    while (true) {
      ERR_clear_error();
      const int result = step();
      const int error = SSL_get_error(session_.get(), result);
      if (error == SSL_ERROR_SSL) KeepAlert(ERR_peek_error());
      Flush();
      if (result > 0) return true;
      if (error != SSL_ERROR_WANT_READ || !Receive()) return false;
    }
  }

  void KeepAlert(unsigned long error) {
    constexpr int kAlerts = 256;
    const int alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && alert >= 0 && alert < kAlerts) alert_ = alert;
  }

  // What cannot be sent is no error: an alert may be waiting from a server that takes no more.
  void Flush() {
    std::array<char, 4096> bytes;
    int size = 0;
    while ((size = BIO_read(to_send_, bytes.data(), bytes.size())) > 0) {
      if (!socket_.Send({bytes.data(), static_cast<size_t>(size)})) return;
    }
  }

  bool Receive() {
    constexpr size_t kHeader = 5;  // of a TLS record
    const std::string bytes = socket_.Receive();
    if (first_bytes_.size() < kHeader) first_bytes_ += bytes.substr(0, kHeader);
    const int size = static_cast<int>(bytes.size());
    return size > 0 && BIO_write(received_, bytes.data(), size) == size;
  }

  TimedSocket socket_;
  const Session session_;
  BIO* received_;
  BIO* to_send_;
  std::string first_bytes_;
  RejectedCertificate rejection_;
  std::optional<int> alert_;
  bool asked_for_certificate_ = false;
};

enum class PlainAnswer { kNone, kHttp1, kHttp2 };

// What is answered to the beginning of a plain connection of gRPC.
PlainAnswer AskInPlain(const Target& target) {
  constexpr std::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  constexpr size_t kFrameHeader = 9;
  constexpr char kSettings = 4;
  TimedSocket socket(target.addresses, target.deadline);
  if (!socket.connected() || !socket.Send(kPreface)) return PlainAnswer::kNone;
  std::string answer;
  while (answer.size() < kFrameHeader) {
    const std::string bytes = socket.Receive();
    if (bytes.empty()) return PlainAnswer::kNone;
    answer += bytes;
  }
  if (answer.starts_with("HTTP/1.")) return PlainAnswer::kHttp1;
  return answer[3] == kSettings ? PlainAnswer::kHttp2 : PlainAnswer::kNone;
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

// As gRPC is set up for `tls`.
Context ContextFor(const TlsOptions& tls) {
  Context context(SSL_CTX_new(TLS_client_method()));
  constexpr unsigned char kProtocol[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kProtocol, sizeof(kProtocol));
  Trust(tls.root_certificates, context.get());
  Show(tls, context.get());
  return context;
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

std::optional<ConnectionProblem> ProblemOfPlainClient(const Target& target) {
  const Context context = ContextFor({});
  {
    Handshake handshake(context.get(), target.FirstHalf());
    if (!handshake.connected()) return std::nullopt;
    handshake.Run();
    if (handshake.first_bytes() == FirstBytes::kTlsRecord) {
      return ConnectionProblem{kTlsExpected, "the server speaks TLS, and this client does not"};
    }
  }  // a server may serve one at a time
  if (AskInPlain(target) != PlainAnswer::kHttp1) return std::nullopt;
  return NotGrpc();
}

std::optional<ConnectionProblem> ProblemOfClientCertificate(const Handshake& handshake,
                                                            const TlsOptions& tls) {
  if (!handshake.asked_for_certificate()) return std::nullopt;
  const std::optional<int> alert = handshake.alert();
  const bool is_refused = alert && IsAboutCertificates(*alert);
  if (tls.certificate.empty()) {
    // gRPC's servers close without a word.
    if (!is_refused && (alert || !handshake.closed())) return std::nullopt;
    return ConnectionProblem{
        kTlsClientCertificateMissing,
        "the server asks clients for a certificate, and this client shows none"};
  }
  if (!is_refused) return std::nullopt;
  return ConnectionProblem{kTlsClientCertificateRefused,
                           alert == SSL_AD_CERTIFICATE_EXPIRED
                               ? "the server refuses this client's certificate: it has expired"
                               : "the server refuses this client's certificate"};
}

std::optional<ConnectionProblem> ProblemOfTlsClient(const TlsOptions& tls, const Target& target) {
  const Context context = ContextFor(tls);
  bool is_plain = false;
  {
    Handshake handshake(context.get(), target.FirstHalf());
    if (!handshake.connected()) return std::nullopt;
    handshake.Run();
    if (handshake.first_bytes() == FirstBytes::kTlsRecord) {
      if (handshake.rejection().error != X509_V_OK) {
        return ProblemOfCertificate(handshake.rejection(), target.endpoint.host);
      }
      if (handshake.alert() == SSL_AD_NO_APPLICATION_PROTOCOL) return NotGrpc();
      return ProblemOfClientCertificate(handshake, tls);
    }
    is_plain = handshake.first_bytes() == FirstBytes::kOther;
  }  // a server may serve one at a time
  // Silence proves nothing, and neither does HTTP/1.1: servers with TLS answer plain clients so.
  if (!is_plain && AskInPlain(target) != PlainAnswer::kHttp2) return std::nullopt;
  return ConnectionProblem{kTlsNotExpected, "the server does not speak TLS, and this client does"};
}

}  // namespace

std::optional<ConnectionProblem> FindConnectionProblem(const ClientOptions& options,
                                                       absl::Time deadline, Resolver resolver) {
  const std::vector<Endpoint> endpoints = EndpointsOf(options.address);
  const bool is_direct =
      !ProxyFor(options.address, [](const char* name) { return std::getenv(name); });
  if (endpoints.size() != 1 || endpoints.front().port.empty() || !is_direct) return std::nullopt;
  const std::vector<SocketAddress> addresses = Resolve(endpoints.front(), deadline, resolver);
  const Target target{endpoints.front(), addresses, deadline};
  return options.tls ? ProblemOfTlsClient(*options.tls, target) : ProblemOfPlainClient(target);
}

}  // namespace denoise
