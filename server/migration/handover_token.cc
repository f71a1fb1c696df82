#include "server/migration/handover_token.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "server/migration/sealed_token.h"

namespace denoise {
namespace {

constexpr char kHandoverField[] = "handover";

TokenScope ScopeOf(std::string_view tenant) { return {.purpose = "handover", .tenant = tenant}; }

}  // namespace

absl::Status CheckPresented(const denoised::v1::GenerateRequest& request) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  request.GetReflection()->ListFields(request, &fields);
  FieldViolations violations;
  for (const auto* const field : fields) {
    if (field->name() == kHandoverField) continue;
    violations.Add(field->name(), "must be absent: the handover holds the request");
  }
  return violations.ToStatus();
}

std::string SealHandover(const HandoverState& state, std::string_view tenant, absl::Time expires,
                         const TokenKeys& keys) {
  return SealToken(state.SerializeAsString(), ScopeOf(tenant), expires, keys);
}

absl::StatusOr<HandoverState> OpenHandover(std::string_view token, std::string_view tenant,
                                           absl::Time now, const TokenKeys& keys) {
  const absl::StatusOr<std::string> content = OpenToken(token, ScopeOf(tenant), now, keys);
  if (content.ok()) return ParseHandoverState(*content);
  if (absl::IsFailedPrecondition(content.status())) {
    return WithErrorReason(content.status(), "HANDOVER_EXPIRED");
  }
  const absl::string_view message = content.status().message();
  return InvalidField(kHandoverField, {message.data(), message.size()});
}

}  // namespace denoise
