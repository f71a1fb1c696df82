#include "client/connection_problem.h"

#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "denoised/v1/models.grpc.pb.h"
#include "tests/client/raw_server.h"
#include "tests/client/test_certificates.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

// What is found is found long before `kLong`; `kShort` is for servers that say nothing.
constexpr absl::Duration kLong = absl::Hours(1), kShort = absl::Milliseconds(100);
constexpr char kNames[] = "IP:127.0.0.1,DNS:localhost";

// A gRPC server that knows no call.
class Server {
 public:
  explicit Server(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }
  ~Server() { server_->Shutdown(); }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  denoised::v1::Models::Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

std::shared_ptr<grpc::ServerCredentials> Credentials(const TestCertificate& certificate,
                                                     const std::string& client_authority = "") {
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs = {{certificate.key, certificate.certificate}};
  if (!client_authority.empty()) {
    options.pem_root_certs = client_authority;
    options.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(options);
}

// A server that asks clients for a certificate, and says by an alert what is wrong with it.
class AskingServer {
 public:
  AskingServer(const TestCertificate& shown, const TestAuthority& client_authority,
               bool requires_one)
      : context_(SSL_CTX_new(TLS_server_method())), server_([this](int socket) { Serve(socket); }) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets with it
    BIO* const certificate = Reader(shown.certificate);
    BIO* const key = Reader(shown.key);
    BIO* const authority = Reader(client_authority.certificate());
    X509* const own = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
    EVP_PKEY* const own_key = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
    X509* const trusted = PEM_read_bio_X509(authority, nullptr, nullptr, nullptr);
    EXPECT_EQ(SSL_CTX_use_certificate(context_, own), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_, own_key), 1);
    EXPECT_EQ(X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), trusted), 1);
    SSL_CTX_set_verify(
        context_, SSL_VERIFY_PEER | (requires_one ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    X509_free(own);
    EVP_PKEY_free(own_key);
    X509_free(trusted);
    for (BIO* const each : {certificate, key, authority}) BIO_free(each);
  }
  ~AskingServer() { SSL_CTX_free(context_); }

  std::string address() const { return server_.address(); }
  bool was_shown_one() const { return was_shown_one_; }

 private:
  static BIO* Reader(const std::string& text) {
    return BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
  }

  // Closes as soon as it has shaken hands.
  void Serve(int socket) {
    SSL* const session = SSL_new(context_);
    SSL_set_fd(session, socket);
    SSL_accept(session);
    X509* const certificate = SSL_get1_peer_certificate(session);
    if (certificate != nullptr) was_shown_one_ = true;
    X509_free(certificate);
    SSL_free(session);
    shutdown(socket, SHUT_WR);
    RawServer::StaySilent(socket);
  }

  SSL_CTX* const context_;
  std::atomic<bool> was_shown_one_ = false;
  RawServer server_;
};

absl::Notification& ResolversEnd() {
  static auto* const end = new absl::Notification();
  return *end;
}

int ResolveNever(const char*, const char*, const addrinfo*, addrinfo**) {
  ResolversEnd().WaitForNotification();
  return EAI_FAIL;
}

class ConnectionProblemTest : public testing::Test {
 protected:
  static ClientOptions Trusting(const std::string& address, const TestAuthority& authority) {
    return {.address = address, .tls = TlsOptions{.root_certificates = authority.certificate()}};
  }
  static ClientOptions Showing(ClientOptions options, const TestCertificate& certificate) {
    options.tls->certificate = certificate.certificate;
    options.tls->key = certificate.key;
    return options;
  }
  // "REASON: description"; empty: none.
  static std::string Problem(const ClientOptions& options, absl::Duration patience = kLong) {
    const auto problem = FindConnectionProblem(options, absl::Now() + patience);
    return problem ? absl::StrCat(problem->reason, ": ", problem->description) : "";
  }

  const TestAuthority authority_{"ours"}, stranger_{"stranger"};
};

TEST_F(ConnectionProblemTest, NothingIsWrongWhereCallsCanBeMade) {
  const Server plain(grpc::InsecureServerCredentials()), tls(Credentials(authority_.Issue(kNames)));
  EXPECT_EQ(Problem({.address = plain.address()}), "");
  EXPECT_EQ(Problem(Trusting(tls.address(), authority_)), "");
  EXPECT_EQ(Problem(Trusting("dns:///" + tls.address(), authority_)), "");
}

TEST_F(ConnectionProblemTest, OneSideSpeaksTlsAndTheOtherDoesNot) {
  const Server plain(grpc::InsecureServerCredentials()), tls(Credentials(authority_.Issue(kNames)));
  EXPECT_EQ(Problem({.address = tls.address()}),
            "TLS_EXPECTED: the server speaks TLS, and this client does not");
  EXPECT_EQ(Problem(Trusting(plain.address(), authority_)),
            "TLS_NOT_EXPECTED: the server does not speak TLS, and this client does");
}

TEST_F(ConnectionProblemTest, TheCertificateOfTheServerIsWrong) {
  const Server tls(Credentials(authority_.Issue(kNames)));
  EXPECT_THAT(
      Problem(Trusting(tls.address(), stranger_)),
      HasSubstr("TLS_UNKNOWN_AUTHORITY: the server's certificate is not from an authority"));
  const Server elsewhere(Credentials(authority_.Issue("DNS:elsewhere.example,IP:192.0.2.1")));
  EXPECT_EQ(Problem(Trusting(elsewhere.address(), authority_)),
            "TLS_OTHER_HOST: the server's certificate is for elsewhere.example, 192.0.2.1, not for "
            "127.0.0.1");
  const Server expired(Credentials(authority_.Issue(kNames, -absl::Hours(2), -absl::Hours(1))));
  EXPECT_THAT(Problem(Trusting(expired.address(), authority_)),
              HasSubstr("TLS_EXPIRED: the server's certificate expired on 20"));
  const Server early(Credentials(authority_.Issue(kNames, absl::Hours(1), absl::Hours(2))));
  EXPECT_THAT(Problem(Trusting(early.address(), authority_)),
              HasSubstr("TLS_NOT_YET_VALID: the server's certificate is not valid before 20"));
  const Server nameless(Credentials(authority_.Issue("")));
  EXPECT_EQ(Problem(Trusting(nameless.address(), authority_)),
            "TLS_OTHER_HOST: the server's certificate is for issued, not for 127.0.0.1");
  const Server of_client(
      Credentials(authority_.Issue(kNames, -absl::Hours(1), absl::Hours(1), "clientAuth")));
  EXPECT_THAT(Problem(Trusting(of_client.address(), authority_)),
              HasSubstr("TLS_CERTIFICATE_INVALID: the server's certificate is not accepted: "
                        "un"));  // "unsuitable" or "unsupported", as OpenSSL has it
}

TEST_F(ConnectionProblemTest, AnAuthorityThatHasExpiredIsNotTakenForTheServer) {
  const TestAuthority old("old", -absl::Hours(2), -absl::Hours(1));
  const Server tls(Credentials(old.Issue(kNames)));
  EXPECT_THAT(Problem(Trusting(tls.address(), old)),
              HasSubstr("TLS_AUTHORITY_INVALID: the certificate of old, an authority above the "
                        "server's certificate, expired on 20"));
}

TEST_F(ConnectionProblemTest, TheServerWantsACertificateOfTheClient) {
  const Server grpc(Credentials(authority_.Issue(kNames), authority_.certificate()));
  const AskingServer openssl(authority_.Issue(kNames), authority_, /*requires_one=*/true);
  for (const std::string& address : {grpc.address(), openssl.address()}) {
    const ClientOptions options = Trusting(address, authority_);
    EXPECT_EQ(Problem(options),
              "TLS_CLIENT_CERTIFICATE_MISSING: the server asks clients for a certificate, and this "
              "client shows none");
    EXPECT_EQ(Problem(Showing(options, authority_.Issue(kNames))), "");
  }
}

TEST_F(ConnectionProblemTest, OnlyAnAlertSaysThatACertificateIsRefused) {
  const AskingServer openssl(authority_.Issue(kNames), authority_, /*requires_one=*/true);
  const ClientOptions told = Trusting(openssl.address(), authority_);
  EXPECT_EQ(Problem(Showing(told, stranger_.Issue(kNames))),
            "TLS_CLIENT_CERTIFICATE_REFUSED: the server refuses this client's certificate");
  EXPECT_EQ(Problem(Showing(told, authority_.Issue(kNames, -absl::Hours(2), -absl::Hours(1)))),
            "TLS_CLIENT_CERTIFICATE_REFUSED: the server refuses this client's certificate: it has "
            "expired");
  const Server grpc(Credentials(authority_.Issue(kNames), authority_.certificate()));
  EXPECT_EQ(Problem(Showing(Trusting(grpc.address(), authority_), stranger_.Issue(kNames))), "")
      << "gRPC closes without a word";
}

TEST_F(ConnectionProblemTest, AServerThatIsNotTrustedSeesNoCertificateOfTheClient) {
  const AskingServer server(authority_.Issue(kNames), authority_, /*requires_one=*/false);
  const TestCertificate certificate = authority_.Issue(kNames);
  EXPECT_THAT(Problem(Showing(Trusting(server.address(), stranger_), certificate)),
              HasSubstr("TLS_UNKNOWN_AUTHORITY"));
  EXPECT_FALSE(server.was_shown_one());
  EXPECT_EQ(Problem(Showing(Trusting(server.address(), authority_), certificate)), "");
  EXPECT_TRUE(server.was_shown_one());
}

TEST_F(ConnectionProblemTest, WhatIsServedThereIsNotGrpc) {
  const RawServer http(RawServer::Saying("HTTP/1.1 400 Bad Request\r\n\r\n"));
  EXPECT_EQ(Problem({.address = http.address()}), "NOT_GRPC: HTTP/1.1 is served there, not gRPC");
  EXPECT_THAT(Problem(Trusting(http.address(), authority_)), HasSubstr("TLS_NOT_EXPECTED"));
}

TEST_F(ConnectionProblemTest, WordsThatAreNotTlsShowThatTheServerIsPlain) {
  const RawServer gibberish(RawServer::Saying("eight and more bytes of nothing"));
  EXPECT_EQ(Problem({.address = gibberish.address()}), "");
  EXPECT_THAT(Problem(Trusting(gibberish.address(), authority_)), HasSubstr("TLS_NOT_EXPECTED"));
}

TEST_F(ConnectionProblemTest, AnAddressThatIsNotOfOneHostIsLeftAlone) {
  for (const char* address : {"127.0.0.1:1", "unix:/nowhere", "a:1,b:2", "no-port", ""}) {
    EXPECT_EQ(Problem({.address = address}), "") << address;
    EXPECT_EQ(Problem(Trusting(address, authority_)), "") << address;
  }
}

TEST_F(ConnectionProblemTest, SilenceAndAClosedConnectionProveNothing) {
  const RawServer closing([](int) {}), silent(RawServer::StaySilent);
  EXPECT_EQ(Problem({.address = closing.address()}), "");
  EXPECT_EQ(Problem(Trusting(closing.address(), authority_)), "");
  EXPECT_EQ(Problem({.address = silent.address()}, kShort), "");
  EXPECT_EQ(Problem(Trusting(silent.address(), authority_), kShort), "");
}

// This ends only because there is a deadline.
TEST_F(ConnectionProblemTest, AServerThatDripsBytesDoesNotHoldTheClient) {
  const RawServer records(RawServer::Dripping("\x16\x03\x03\x40"));
  EXPECT_EQ(Problem(Trusting(records.address(), authority_), kShort), "");
  const RawServer zeros(RawServer::Dripping(std::string(1, '\0')));
  EXPECT_EQ(Problem({.address = zeros.address()}, kShort), "");
}

TEST_F(ConnectionProblemTest, ANameThatIsNotResolvedDoesNotHoldTheClient) {
  EXPECT_EQ(
      FindConnectionProblem({.address = "name.example:1"}, absl::Now() + kShort, ResolveNever),
      std::nullopt);
  if (!ResolversEnd().HasBeenNotified()) ResolversEnd().Notify();  // with --gtest_repeat
}

}  // namespace
}  // namespace denoise
