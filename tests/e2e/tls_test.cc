// TLS, with a certificate made for the occasion.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include "client/client.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    models_.AddGuided();
    const auto made = RunProcess(
        {"/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", Key(),
         "-out", Certificate()},
        kPatience);
    ASSERT_TRUE(made.ok()) << made.status();
    ASSERT_EQ(made->exit_status, kExitedCleanly) << made->error;
    server_ = StartServer(models_.path(), {"--tls-cert", Certificate(), "--tls-key", Key()});
  }

  std::string Key() const { return (folder_.path() / "key.pem").string(); }
  std::string Certificate() const { return (folder_.path() / "certificate.pem").string(); }

  TempDir folder_;
  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(TlsTest, AClientThatTrustsTheCertificateIsServed) {
  Client client(ClientOptions{.address = server_->address(),
                              .tls = TlsOptions{.root_certificates = ReadFile(Certificate())}});
  const auto models = client.ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(models->size(), 1u);

  const auto result =
      RunDenoise({"models", "--server", server_->address(), "--tls-ca", Certificate()});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
}

TEST_F(TlsTest, AClientThatDoesNotTrustItAndAPlainOneAreNot) {
  ClientOptions options;
  options.address = server_->address();
  options.max_attempts = 1;
  Client plain(options);
  options.tls = TlsOptions{};  // the system's roots do not know our certificate
  Client untrusting(options);
  EXPECT_FALSE(untrusting.ListModels().ok());
  EXPECT_FALSE(plain.ListModels().ok());
}

TEST_F(TlsTest, HalfAPairOrAKeyThatIsNoneEndsTheServerWithAMessage) {
  WriteFile(folder_.path() / "garbage.pem", "garbage");
  const std::string garbage = (folder_.path() / "garbage.pem").string();
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--tls-cert", Certificate()},
        std::vector<std::string>{"--tls-key", Key()},
        std::vector<std::string>{"--tls-cert", garbage, "--tls-key", garbage},
        std::vector<std::string>{"--tls-cert", Certificate(), "--tls-key", "/absent"}}) {
    std::vector<std::string> argv = {DenoisedBinary(), "--models",    models_.path().string(),
                                     "--listen",       "127.0.0.1:0", "--http",
                                     "127.0.0.1:0"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    const auto result = RunProcess(argv, kPatience);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NE(result->exit_status.code, 0);
    EXPECT_EQ(result->exit_status.signal, 0) << "a crash";
    EXPECT_NE(result->error, "");
  }
}

}  // namespace
}  // namespace denoise
