#include "server/connections/tls_context.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

// A certificate that is valid for so many days from now, in PEM.
std::string CertificateFor(int days) {
  const TempDir folder;
  const std::string file = (folder.path() / "certificate.pem").string();
  const auto made = RunProcess({"/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                                "-days", absl::StrCat(days), "-subj", "/CN=localhost", "-keyout",
                                (folder.path() / "key.pem").string(), "-out", file},
                               absl::Minutes(1));
  EXPECT_TRUE(made.ok() && made->exit_status == kExitedCleanly);
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(TlsContext, TheCertificateOfTheChainThatExpiresFirstCounts) {
  const std::string week = CertificateFor(7), month = CertificateFor(30);
  const absl::Time now = absl::Now();
  for (const std::string& chain : {week + month, month + week}) {
    const absl::Duration left = ExpiryOf({.certificate = chain, .key = "", .client_ca = ""}) - now;
    EXPECT_GT(left, absl::Hours(7 * 24) - absl::Minutes(5));
    EXPECT_LT(left, absl::Hours(7 * 24) + absl::Minutes(5));
  }
}

TEST(TlsContext, WithoutCertificatesNothingExpires) {
  EXPECT_EQ(ExpiryOf({}), absl::InfiniteFuture());
  EXPECT_EQ(ExpiryOf({.certificate = "garbage", .key = "", .client_ca = ""}),
            absl::InfiniteFuture());
}

}  // namespace
}  // namespace denoise
