// What is wrong with an input from outside, field by field.
//
// Validation collects all violations before it returns, so that callers can fix them all at once.
// The core names fields relative to the message it was given ("steps", "timesteps[3]"); code that
// embeds that message adds its own prefix ("sampler."). The RPC layer turns the result into
// google.rpc.BadRequest, the command line into text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace denoise {

struct FieldViolation {
  std::string field;        // "sampler.steps"
  std::string description;  // "must be between 1 and 1000, is 0"

  bool operator==(const FieldViolation&) const = default;
};

class FieldViolations {
 public:
  // After kMax violations the last one says that there are more, and others are left out.
  static constexpr size_t kMax = 256;
  void Add(std::string_view field, std::string_view description);

  // Add a violation unless `value` is in [min, max], or at least `min`.
  void CheckRange(std::string_view field, int64_t value, int64_t min, int64_t max);
  void CheckAtLeast(std::string_view field, int64_t value, int64_t min);

  // Adds the violations in `status`, with `prefix` before each field. An error without violations
  // becomes one violation of `prefix` itself (without its final dot). OK adds nothing.
  void AddAll(std::string_view prefix, const absl::Status& status);

  bool empty() const { return violations_.empty(); }
  const std::vector<FieldViolation>& violations() const { return violations_; }

  // OK when empty, else InvalidArgument with the violations in its message and payload.
  absl::Status ToStatus() const;

 private:
  std::vector<FieldViolation> violations_;
};

// One violation as a status.
absl::Status InvalidField(std::string_view field, std::string_view description);

// The violations in a status; empty for any other status.
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);

}  // namespace denoise
