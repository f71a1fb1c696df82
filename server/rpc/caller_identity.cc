#include "server/rpc/caller_identity.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "server/rpc/call_record.h"

namespace denoise {

absl::StatusOr<Identity> IdentifyCaller(const AccessControl* access,
                                        const grpc::ServerContextBase& context) {
  if (access == nullptr) return Anyone();
  const std::shared_ptr<CallRecord> record = RecordOf(context);
  Credentials credentials;
  credentials.authorization = MetadataValue(context, "authorization");
  credentials.certificate = access->peer_certificates().NameOf(context.peer());
  credentials.sealed = MetadataValue(context, kSealedIdentityKey);
  if (!access->tenant_header().empty()) {
    credentials.tenant = MetadataValue(context, access->tenant_header());
  }
  absl::StatusOr<Identity> caller = access->Admit(absl::StrCat("/", record->method()), credentials);
  if (caller.ok() && !caller->tenant.empty()) record->Add({{"tenant", caller->tenant}});
  return caller;
}

}  // namespace denoise
