// What is wrong with the certificates of a server, in words.
#pragma once

#include <openssl/x509.h>

#include <memory>
#include <string>

#include "client/connection_problem.h"
#include "core/base/c_deleter.h"

namespace denoise {

using Certificate = std::unique_ptr<X509, CDeleter<X509_free>>;

// The certificate that the verification of a server's chain ended with.
struct RejectedCertificate {
  int error = X509_V_OK;    // X509_V_ERR_...
  int depth = 0;            // 0: the server's own; above it are authorities
  Certificate certificate;  // may be null
};

// `host` is whom the client has called.
ConnectionProblem ProblemOfCertificate(const RejectedCertificate& rejection,
                                       const std::string& host);

}  // namespace denoise
