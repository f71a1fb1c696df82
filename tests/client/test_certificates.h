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
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();

  const std::string& certificate() const { return certificate_; }

  // For `names`, as OpenSSL takes them: "IP:127.0.0.1,DNS:localhost". Valid from `begin` to `end`, as
  // seen from now.
  TestCertificate Issue(const std::string& names, absl::Duration begin = -absl::Hours(1),
                        absl::Duration end = absl::Hours(1)) const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
  std::string certificate_;
};

}  // namespace denoise
