// What a status carries besides its message, for the code that answers callers: the missing
// resource, the exhausted quota, and metadata.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

// A resource by its type ("model") and name ("models/emoji-32").
struct ResourceReference {
  std::string type;
  std::string name;
};

// NotFound. The second says with `message` what became of it.
absl::Status ResourceNotFound(std::string_view type, std::string_view name);
absl::Status ResourceNotFound(std::string_view type, std::string_view name,
                              std::string_view message);
std::optional<ResourceReference> GetResource(const absl::Status& status);

// ResourceExhausted. `subject` is what is limited ("datasets"); `description` states the limit and
// what to do.
struct QuotaViolation {
  std::string subject;
  std::string description;
};
absl::Status QuotaExceeded(std::string_view subject, std::string_view description);
std::optional<QuotaViolation> GetQuotaViolation(const absl::Status& status);

// Says which error of its code this is ("GENERATION_EXPIRED"), where callers must tell several
// apart.
absl::Status WithErrorReason(absl::Status status, std::string_view reason);
std::optional<std::string> GetErrorReason(const absl::Status& status);

// Named facts for programs to act on ("received_bytes": "1048576").
absl::Status WithErrorMetadata(absl::Status status, std::string_view key, std::string_view value);
std::map<std::string, std::string> GetErrorMetadata(const absl::Status& status);

// Whether the message of `status` is about the server's inside and kept from callers: true of
// INTERNAL, UNKNOWN, PERMISSION_DENIED (the file system's) and every other code that the contract
// does not name, unless the status has a reason.
bool WithholdsMessage(const absl::Status& status);

}  // namespace denoise
