// What the requests of several RPCs are checked for. Violations are named by their path in the
// request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/model_repository.h"
#include "server/requests/request_validation.h"

namespace denoise {

// The field "model".
void CheckModelName(std::string_view name, FieldViolations& violations);

// What a request_id may be, and so the last part of a generation's name: letters, digits, '-', '_'
// and '.', at most 64, the first a letter or digit.
bool IsValidRequestId(std::string_view id);
// The field "request_id", which may be empty.
void CheckRequestId(std::string_view id, FieldViolations& violations);

// The model of a request's field; errors as those of ModelRepository::Find.
absl::StatusOr<ModelHandle> FindModel(const std::string& name, const ModelRepository& models);

// What has been found wrong so far comes before what is wrong with the model.
absl::StatusOr<ModelHandle> FoundModel(absl::StatusOr<ModelHandle> model,
                                       const FieldViolations& violations);

// An encoding of the contract, or UNSPECIFIED.
void CheckEncoding(std::string_view field, denoised::v1::Encoding encoding,
                   FieldViolations& violations);
// One that can hold the model's images. Not UNSPECIFIED.
void CheckHoldsChannels(std::string_view field, denoised::v1::Encoding encoding, int64_t channels,
                        FieldViolations& violations);
denoised::v1::Encoding OrPng(denoised::v1::Encoding encoding);

// That `count` images of the model are not too many pixels, where `count` alone is within limits.
void CheckPixels(std::string_view field, int count, const SampleShape& picture,
                 const RequestLimits& limits, FieldViolations& violations);

}  // namespace denoise
