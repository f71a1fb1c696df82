// Decides, for every call, who makes it and whether they may.
//
// A caller proves who it is with a bearer token, either one of --tokens or one that an identity
// provider has signed (--jwt-jwks), or else with its certificate (--tls-client-ca). Where the server
// asks for no credentials, everybody may do everything, and --tenant-header may tell callers apart.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/files/file_watch.h"
#include "server/identity/identity.h"
#include "server/identity/json_web_keys.h"
#include "server/identity/json_web_token.h"
#include "server/identity/peer_certificates.h"
#include "server/identity/reloaded_file.h"
#include "server/identity/token_file.h"

namespace denoise {

// What a call brings along. Empty where it brings nothing of the kind.
struct Credentials {
  std::string authorization;  // of the header
  std::string tenant;         // of the header that Options::tenant_header names
  std::string sealed;         // see Seal
  std::string certificate;    // whom a verified certificate names
};

// The metadata that carries a sealed identity. Headers of this name from outside prove nothing.
inline constexpr char kSealedIdentityKey[] = "denoised-identity-bin";

// Thread-safe.
class AccessControl {
 public:
  struct Options {
    std::filesystem::path tokens = {};  // empty: none
    std::filesystem::path jwks = {};    // empty: none
    JwtRules jwt = {};
    bool client_certificates = false;                // clients need one
    Scopes certificate_scopes = {Scope::kGenerate};  // of each
    std::string tenant_header = {};                  // in lower case; empty: none
    const Clock* clock = &Clock::Real();
  };
  // InvalidArgument names the flag whose file is not what it should be. `watch` tells it of new
  // files; a broken one is logged, and the old one stays in force. It goes away before this.
  static absl::StatusOr<std::unique_ptr<AccessControl>> Open(const Options& options,
                                                             FileWatch& watch);

  bool asks_for_credentials() const {
    return !options_.tokens.empty() || !options_.jwks.empty() || options_.client_certificates;
  }
  // Filled by whoever ends TLS in front of gRPC.
  PeerCertificates& peer_certificates() { return peer_certificates_; }
  const PeerCertificates& peer_certificates() const { return peer_certificates_; }
  const std::string& tenant_header() const { return options_.tenant_header; }

  // Unauthenticated: the credentials are missing, have expired or are not valid, and no more is
  // said. InvalidArgument: the header names a malformed tenant.
  absl::StatusOr<Identity> Identify(const Credentials& credentials) const;

  // Who calls `method` ("/denoised.v1.Models/ListModels"). PermissionDenied names the scope that is
  // missing; other errors are those of Identify.
  absl::StatusOr<Identity> Admit(std::string_view method, const Credentials& credentials) const;

  // PermissionDenied names the scope, which `subject` needs.
  static absl::Status Require(const Identity& caller, Scope scope, std::string_view subject);

  // An identity that was checked, as Credentials::sealed, for calls that the server makes of itself.
  // It contains a secret of this process, so nobody else can make one.
  std::string Seal(const Identity& identity) const;

 private:
  explicit AccessControl(const Options& options);

  absl::StatusOr<Identity> IdentifyBearer(std::string_view authorization) const;
  absl::StatusOr<Identity> IdentifyByToken(std::string_view token) const;
  absl::StatusOr<Identity> IdentifyByJwt(std::string_view token) const;
  absl::StatusOr<Identity> IdentifyByCertificate(const std::string& name) const;
  absl::StatusOr<Identity> IdentifyByHeader(const std::string& tenant) const;
  absl::StatusOr<Identity> Unseal(std::string_view sealed) const;

  const Options options_;
  const std::string secret_;
  ReloadedFile<TokenFile> tokens_;
  ReloadedFile<JsonWebKeys> keys_;
  PeerCertificates peer_certificates_;
};

}  // namespace denoise
