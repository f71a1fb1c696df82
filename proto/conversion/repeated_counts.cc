#include "proto/conversion/repeated_counts.h"

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"

namespace denoise {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void Check(const Message& message, const std::string& prefix, FieldViolations& violations) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* const field : fields) {
    const std::string path = absl::StrCat(prefix, field->name());
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!field->is_repeated()) {
      if (is_message) {
        Check(reflection.GetMessage(message, field), absl::StrCat(path, "."), violations);
      }
      continue;
    }
    const int count = reflection.FieldSize(message, field);
    if (count > kMaxRepeated) {
      violations.Add(path,
                     absl::StrCat("must have at most ", kMaxRepeated, " entries, has ", count));
      continue;
    }
    for (int i = 0; is_message && i < count; ++i) {
      Check(reflection.GetRepeatedMessage(message, field, i), absl::StrCat(path, "[", i, "]."),
            violations);
    }
  }
}

}  // namespace

absl::Status CheckRepeatedCounts(const Message& request) {
  FieldViolations violations;
  Check(request, "", violations);
  return violations.ToStatus();
}

}  // namespace denoise
