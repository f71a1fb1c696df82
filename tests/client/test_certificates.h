// Certificates that are made while a test runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace denoise {

// In PEM.
struct TestCertificate {
  std::string certificate;
  std::string key;
};

class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name, absl::Duration begin = -absl::Hours(1000),
                         absl::Duration end = absl::Hours(1000));
  ~TestAuthority();

  const std::string& certificate() const { return certificate_; }

  // For `names`, as OpenSSL takes them: "IP:127.0.0.1,DNS:localhost"; if empty, only with the common
  // name "issued". Valid from `begin` to `end`, as seen from now. `purposes`: "clientAuth"; empty:
  // any.
  TestCertificate Issue(const std::string& names, absl::Duration begin = -absl::Hours(1),
                        absl::Duration end = absl::Hours(1),
                        const std::string& purposes = "") const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
  std::string certificate_;
};

}  // namespace denoise
