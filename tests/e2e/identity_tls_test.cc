// Client certificates, and new certificates while the server runs.
#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "denoised/v1/generations.grpc.pb.h"
#include "tests/e2e/caller_channel.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using grpc::StatusCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kListModels[] = "/denoised.v1.Models/ListModels";
constexpr char kListDatasets[] = "/denoised.v1.Datasets/ListDatasets";

class IdentityTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    models_.AddGuided();
    MakeAuthority("ca");
    MakeAuthority("stranger");
    Issue("server", "ca", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1");
    Issue("acme", "ca", "/CN=acme", "subjectAltName=DNS:ignored.example");
    Issue("globex", "ca", "/CN=globex", "subjectAltName=DNS:ignored.example");
    Issue("nameless", "ca", "/O=Acme", "subjectAltName=DNS:worker.acme.example");
    Issue("forged", "stranger", "/CN=acme", "subjectAltName=DNS:ignored.example");
    server_ = StartServer(models_.path(), {"--tls-cert", Path("server.pem"), "--tls-key",
                                           Path("server.key"), "--tls-client-ca", Path("ca.pem")});
  }

  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }

  void OpenSsl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    const auto made = RunProcess(arguments, kPatience);
    ASSERT_TRUE(made.ok()) << made.status();
    ASSERT_EQ(made->exit_status, kExitedCleanly) << made->error;
  }

  void MakeAuthority(const std::string& name) {
    OpenSsl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=" + name, "-keyout", Path(name + ".key"), "-out",
             Path(name + ".pem")});
  }

  void Issue(const std::string& name, const std::string& authority, const std::string& subject,
             const std::string& extension) {
    OpenSsl({"req",
             "-x509",
             "-newkey",
             "ec",
             "-pkeyopt",
             "ec_paramgen_curve:P-256",
             "-nodes",
             "-days",
             "2",
             "-subj",
             subject,
             "-addext",
             extension,
             "-addext",
             "basicConstraints=critical,CA:FALSE",
             "-CA",
             Path(authority + ".pem"),
             "-CAkey",
             Path(authority + ".key"),
             "-keyout",
             Path(name + ".key"),
             "-out",
             Path(name + ".pem")});
  }

  // Without `name`, a client that shows no certificate.
  std::shared_ptr<grpc::Channel> ChannelOf(const std::string& name, const Metadata& metadata = {},
                                           const std::string& roots = "ca.pem") const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ReadFile(Path(roots));
    if (!name.empty()) {
      options.pem_cert_chain = ReadFile(Path(name + ".pem"));
      options.pem_private_key = ReadFile(Path(name + ".key"));
    }
    return ChannelWith(server_->address(), metadata, grpc::SslCredentials(options));
  }

  StatusCode Call(const std::string& name, const std::string& method = kListModels) const {
    return CallWithBytes(ChannelOf(name), method, "").status.error_code();
  }

  std::string Curl(const std::vector<std::string>& flags, const std::string& path) const {
    std::vector<std::string> arguments = {"/usr/bin/curl", "-s",       "-w",
                                          "%{http_code}",  "--cacert", Path("ca.pem")};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.push_back("https://" + server_->http_address() + path);
    const auto result = RunProcess(arguments, kPatience);
    return result.ok() ? result->output : "";
  }

  TempDir folder_;
  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

// gRPC says of all of these that no connection could be made.
TEST_F(IdentityTlsTest, TheCommandSaysWhatIsWrongWithTheConnection) {
  const std::string ca = Path("ca.pem"), address = server_->address();
  const std::vector<std::string> acme = {"--tls-cert", Path("acme.pem"), "--tls-key",
                                         Path("acme.key")};
  const auto says = [](const std::string& called, std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"models", "--server", called});
    const ProcessResult result = RunDenoise(flags);
    EXPECT_EQ(result.exit_status, ExitStatus{.code = 3}) << result.error;
    EXPECT_THAT(result.error, Not(HasSubstr("Is denoised running there?")));
    return result.error;
  };
  const auto with = [](std::vector<std::string> flags, const std::vector<std::string>& more) {
    flags.insert(flags.end(), more.begin(), more.end());
    return flags;
  };
  EXPECT_EQ(RunDenoise(with({"models", "--server", address, "--tls-ca", ca}, acme)).exit_status,
            kExitedCleanly);
  EXPECT_THAT(says(address, {}),
              AllOf(HasSubstr(": the server speaks TLS, and this client does not\n"),
                    HasSubstr("  Add --tls-ca FILE")));
  EXPECT_THAT(says(address, {"--tls-ca", ca}),
              AllOf(HasSubstr("asks clients for a certificate, and this client shows none\n"),
                    HasSubstr("  Show one with --tls-cert FILE and --tls-key FILE")));
  EXPECT_THAT(says(address, {"--tls-ca", ca, "--tls-cert", Path("forged.pem"), "--tls-key",
                             Path("forged.key")}),
              HasSubstr("the server refuses this client's certificate\n"));
  EXPECT_THAT(says(address, with(acme, {"--tls-ca", Path("stranger.pem")})),
              AllOf(HasSubstr("not from an authority that this client trusts"),
                    HasSubstr("with --tls-ca FILE")));
  EXPECT_THAT(
      says(server_->http_address(), with(acme, {"--tls-ca", ca})),
      AllOf(HasSubstr("HTTP/1.1 is served there, not gRPC\n"), HasSubstr("that of\n  --http.")));
}

TEST_F(IdentityTlsTest, OnlyClientsWithACertificateOfTheAuthorityAreServed) {
  EXPECT_EQ(Call("acme"), StatusCode::OK);
  EXPECT_EQ(Call("nameless"), StatusCode::OK);
  EXPECT_EQ(Call(""), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("forged"), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("acme", kListDatasets), StatusCode::UNIMPLEMENTED) << "a server without --state";
  EXPECT_EQ(Call("acme", "/denoised.v1.Models/DeleteModel"), StatusCode::PERMISSION_DENIED);
}

TEST_F(IdentityTlsTest, TheCertificateNamesTheTenant) {
  const auto run = [&](const std::string& name, int steps) {
    v1::GenerateRequest request = GuidedRequest(steps);
    request.set_request_id("tile");
    const auto stub = v1::ImageGeneration::NewStub(ChannelOf(name));
    EXPECT_TRUE(Generate(*stub, request).status.ok()) << name;
  };
  run("acme", 2);
  run("globex", 3);
  const auto steps = [&](const std::string& name, const Metadata& metadata = {}) {
    const auto stub = v1::Generations::NewStub(ChannelOf(name, metadata));
    grpc::ClientContext context;
    v1::GetGenerationRequest request;
    request.set_name("generations/tile");
    v1::Generation generation;
    const grpc::Status status = stub->GetGeneration(&context, request, &generation);
    return status.ok() ? generation.accepted().steps() : -static_cast<int>(status.error_code());
  };
  EXPECT_EQ(steps("acme"), 2);
  EXPECT_EQ(steps("globex"), 3);
  EXPECT_EQ(steps("nameless"), -static_cast<int>(StatusCode::NOT_FOUND));
  EXPECT_EQ(steps("globex", {{"x-tenant", "acme"}, {"x-forwarded-client-cert", "CN=acme"}}), 3);
  EXPECT_EQ(steps("globex", {{"denoised-identity-bin", std::string(64, '1')}}),
            -static_cast<int>(StatusCode::UNAUTHENTICATED));
}

TEST_F(IdentityTlsTest, HttpAsksForTheSameCertificate) {
  const std::vector<std::string> acme = {"--cert", Path("acme.pem"), "--key", Path("acme.key")};
  EXPECT_THAT(Curl(acme, "/v1/models"), HasSubstr("200"));
  EXPECT_EQ(Curl({}, "/v1/models"), "000");
  EXPECT_THAT(Curl(acme, "/metrics"), HasSubstr("403"));
}

TEST_F(IdentityTlsTest, NewCertificatesAreShownWhileAStreamRuns) {
  const auto stub = v1::ImageGeneration::NewStub(ChannelOf("acme"));
  auto endless = GuidedRequest(1000);
  endless.set_count(64);
  BackgroundCall running(*stub, endless);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  // Another authority takes over: for the server, and for its clients.
  Issue("server", "stranger", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1");
  WriteFile(Path("ca.pem"), ReadFile(Path("stranger.pem")));
  const auto call = [&](const std::string& name) {
    return CallWithBytes(ChannelOf(name, {}, "stranger.pem"), kListModels, "").status.error_code();
  };
  ASSERT_TRUE(Eventually([&] { return call("forged") == StatusCode::OK; }));
  EXPECT_EQ(call("acme"), StatusCode::UNAVAILABLE) << "its authority is trusted no more";
  EXPECT_FALSE(running.Finished());

  WriteFile(Path("server.pem"), "garbage");
  ASSERT_TRUE(
      Eventually([&] { return server_->Log().find("new file refused") != std::string::npos; }));
  EXPECT_EQ(call("forged"), StatusCode::OK);
  EXPECT_FALSE(running.Finished());
}

}  // namespace
}  // namespace denoise
