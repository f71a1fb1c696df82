#include "server/requests/field_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/resource_id.h"
#include "core/base/status_macros.h"
#include "server/requests/picture.h"

namespace denoise {

using denoised::v1::Encoding;

namespace {

constexpr size_t kMaxRequestIdBytes = 64;

}  // namespace

void CheckModelName(std::string_view name, FieldViolations& violations) {
  if (ParseModelName(name)) return;
  violations.Add("model",
                 "must be \"models/\" and a name of letters, digits and ._- that begins with a "
                 "letter or digit and may end with a version, such as @2");
}

bool IsValidRequestId(std::string_view id) {
  return id.size() <= kMaxRequestIdBytes && IsValidResourceId(id);
}

void CheckRequestId(std::string_view id, FieldViolations& violations) {
  if (id.empty() || IsValidRequestId(id)) return;
  violations.Add("request_id", absl::StrCat("must be at most ", kMaxRequestIdBytes,
                                            " letters, digits and ._- that begin with a letter or "
                                            "digit"));
}

absl::StatusOr<ModelHandle> FindModel(const std::string& name, const ModelRepository& models) {
  const auto id = ParseModelName(name);
  if (!id) return ResourceNotFound("model", name);
  return models.Find(*id);
}

absl::StatusOr<ModelHandle> FoundModel(absl::StatusOr<ModelHandle> model,
                                       const FieldViolations& violations) {
  if (!model.ok()) RETURN_IF_ERROR(violations.ToStatus());
  return model;
}

void CheckEncoding(std::string_view field, Encoding encoding, FieldViolations& violations) {
  if (!denoised::v1::Encoding_IsValid(encoding)) {
    violations.Add(field, absl::StrCat("unknown value ", static_cast<int>(encoding)));
  }
}

void CheckHoldsChannels(std::string_view field, Encoding encoding, int64_t channels,
                        FieldViolations& violations) {
  if (EncodingHoldsChannels(encoding, channels)) return;
  violations.Add(field, absl::StrCat("must be ENCODING_RAW_FLOAT32: this model's images have ",
                                     channels, " channels"));
}

Encoding OrPng(Encoding encoding) {
  return encoding == denoised::v1::ENCODING_UNSPECIFIED ? denoised::v1::ENCODING_PNG : encoding;
}

void CheckPixels(std::string_view field, int count, const SampleShape& picture,
                 const RequestLimits& limits, FieldViolations& violations) {
  const int64_t pixels = picture.height * picture.width;
  if (count > 1 && count <= limits.max_images && count * pixels > limits.max_pixels) {
    violations.Add(field, absl::StrCat("at ", pixels, " pixels an image, must be at most ",
                                       std::max<int64_t>(1, limits.max_pixels / pixels)));
  }
}

}  // namespace denoise
