#include "client/connection_problem.h"

#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "core/base/error_details.h"
#include "denoised/v1/models.grpc.pb.h"
#include "tests/client/test_certificates.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(30), kShort = absl::Milliseconds(100);
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

std::shared_ptr<grpc::ServerCredentials> Showing(const TestCertificate& certificate,
                                                 const std::string& client_authority = "") {
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs = {{certificate.key, certificate.certificate}};
  if (!client_authority.empty()) {
    options.pem_root_certs = client_authority;
    options.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(options);
}

// Says the same to each of its connections, and nothing if `words` are empty.
class RawServer {
 public:
  explicit RawServer(std::string words) : words_(std::move(words)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~RawServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  void Serve() {
    int connection = 0;
    while ((connection = accept(listener_, nullptr, nullptr)) >= 0) {
      char bytes[1024];
      if (!words_.empty() && recv(connection, bytes, sizeof(bytes), 0) > 0) {
        send(connection, words_.data(), words_.size(), MSG_NOSIGNAL);
        shutdown(connection, SHUT_WR);
      }
      while (recv(connection, bytes, sizeof(bytes), 0) > 0) {
      }
      close(connection);
    }
  }

  const std::string words_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

class ConnectionProblemTest : public testing::Test {
 protected:
  ClientOptions Trusting(const std::string& address, const TestAuthority& authority) const {
    return {.address = address, .tls = TlsOptions{.root_certificates = authority.certificate()}};
  }
  // "REASON: description"; empty: none.
  static std::string Problem(const ClientOptions& options, absl::Duration patience = kLong) {
    const auto problem = FindConnectionProblem(options, patience);
    return problem ? absl::StrCat(problem->reason, ": ", problem->description) : "";
  }

  const TestAuthority authority_{"ours"}, stranger_{"stranger"};
};

TEST_F(ConnectionProblemTest, NothingIsWrongWhereCallsCanBeMade) {
  const Server plain(grpc::InsecureServerCredentials()), tls(Showing(authority_.Issue(kNames)));
  EXPECT_EQ(Problem({.address = plain.address()}), "");
  EXPECT_EQ(Problem(Trusting(tls.address(), authority_)), "");
  EXPECT_EQ(Problem(Trusting("dns:///" + tls.address(), authority_)), "");
}

TEST_F(ConnectionProblemTest, OneSideSpeaksTlsAndTheOtherDoesNot) {
  const Server plain(grpc::InsecureServerCredentials()), tls(Showing(authority_.Issue(kNames)));
  EXPECT_EQ(Problem({.address = tls.address()}),
            "TLS_EXPECTED: the server speaks TLS, and this client does not");
  EXPECT_EQ(Problem(Trusting(plain.address(), authority_)),
            "TLS_NOT_EXPECTED: the server does not speak TLS, and this client does");
}

TEST_F(ConnectionProblemTest, TheCertificateOfTheServerIsWrong) {
  const Server tls(Showing(authority_.Issue(kNames)));
  EXPECT_THAT(
      Problem(Trusting(tls.address(), stranger_)),
      HasSubstr("TLS_UNKNOWN_AUTHORITY: the server's certificate is not from an authority"));
  const Server elsewhere(Showing(authority_.Issue("DNS:elsewhere.example,IP:192.0.2.1")));
  EXPECT_EQ(Problem(Trusting(elsewhere.address(), authority_)),
            "TLS_OTHER_HOST: the server's certificate is for elsewhere.example, 192.0.2.1, not for "
            "127.0.0.1");
  const Server expired(Showing(authority_.Issue(kNames, -absl::Hours(2), -absl::Hours(1))));
  EXPECT_THAT(Problem(Trusting(expired.address(), authority_)),
              HasSubstr("TLS_EXPIRED: the server's certificate expired on 20"));
  const Server early(Showing(authority_.Issue(kNames, absl::Hours(1), absl::Hours(2))));
  EXPECT_THAT(Problem(Trusting(early.address(), authority_)),
              HasSubstr("TLS_NOT_YET_VALID: the server's certificate is not valid before 20"));
}

TEST_F(ConnectionProblemTest, TheServerWantsAnotherCertificateOfTheClient) {
  const Server tls(Showing(authority_.Issue(kNames), authority_.certificate()));
  ClientOptions options = Trusting(tls.address(), authority_);
  EXPECT_EQ(Problem(options),
            "TLS_CLIENT_CERTIFICATE_MISSING: the server asks clients for a certificate, and this "
            "client shows none");
  const auto show = [&options](const TestCertificate& certificate) {
    options.tls->certificate = certificate.certificate;
    options.tls->key = certificate.key;
  };
  show(stranger_.Issue(kNames));
  EXPECT_THAT(Problem(options), HasSubstr("TLS_CLIENT_CERTIFICATE_REFUSED: the server refuses"));
  show(authority_.Issue(kNames, -absl::Hours(2), -absl::Hours(1)));
  EXPECT_THAT(Problem(options), HasSubstr("TLS_CLIENT_CERTIFICATE_REFUSED: the server refuses"));
  show(authority_.Issue(kNames));
  EXPECT_EQ(Problem(options), "");
}

TEST_F(ConnectionProblemTest, WhatIsServedThereIsNotGrpc) {
  const RawServer http("HTTP/1.1 400 Bad Request\r\n\r\n");
  EXPECT_EQ(Problem({.address = http.address()}), "NOT_GRPC: HTTP/1.1 is served there, not gRPC");
  EXPECT_THAT(Problem(Trusting(http.address(), authority_)), HasSubstr("TLS_NOT_EXPECTED"));
}

TEST_F(ConnectionProblemTest, ThereIsNothingToSay) {
  const RawServer silent(""), gibberish("eight and more bytes of nothing");
  for (const std::string& address :
       {std::string("127.0.0.1:1"), std::string("nobody.invalid:1"), std::string("unix:/nowhere"),
        std::string("a:1,b:2"), std::string("no-port"), std::string(), silent.address(),
        gibberish.address()}) {
    EXPECT_EQ(Problem({.address = address}, kShort), "") << address;
    EXPECT_EQ(Problem(Trusting(address, authority_), kShort), "") << address;
  }
}

TEST_F(ConnectionProblemTest, AClientThatWantsToKnowIsToldByItsCalls) {
  const Server tls(Showing(authority_.Issue(kNames)));
  ClientOptions options{.address = tls.address(), .max_attempts = 1};
  EXPECT_EQ(GetErrorReason(Client(options).ListModels().status()), std::nullopt);
  options.explains_connections = true;
  Client client(options);
  const absl::Status unary = client.ListModels().status();
  EXPECT_TRUE(absl::IsUnavailable(unary)) << unary;
  EXPECT_EQ(unary.message(), absl::StrCat("no connection to ", tls.address(),
                                          ": the server speaks TLS, and this client does not"));
  EXPECT_EQ(GetErrorReason(unary), kTlsExpected);
  EXPECT_EQ(GetErrorReason(client.Generate({}).Next().status()), kTlsExpected);
}

}  // namespace
}  // namespace denoise
