// The adapters that a request names.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/nn/adapter.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/adapter_library.h"
#include "server/models/model.h"

namespace denoise {

// What can be said without their files.
void CheckAdapters(const denoised::v1::GenerateRequest& request, FieldViolations& violations);

// Reads the adapters of a request to `model` where they are not in memory, which takes a while. None
// where CheckAdapters finds something, or the model takes none. InvalidArgument names those that cannot be used; other errors
// are those of AdapterLibrary::Load.
absl::StatusOr<AppliedAdapters> LoadAdapters(const denoised::v1::GenerateRequest& request,
                                             const Model& model, AdapterLibrary& library);

// As requested, scales filled in.
void AddAdapters(const denoised::v1::GenerateRequest& request, denoised::v1::Accepted& accepted);

}  // namespace denoise
