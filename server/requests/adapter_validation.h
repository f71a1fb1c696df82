// The adapters that a request names.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "core/base/field_violations.h"
#include "core/nn/adapter.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/adapter_library.h"
#include "server/models/model.h"

namespace denoise {

struct RequestedAdapter {
  LoadedAdapter loaded;
  double scale = 1;
};
using RequestedAdapters = std::vector<RequestedAdapter>;

// Checks that need no files.
void CheckAdapters(const denoised::v1::GenerateRequest& request, FieldViolations& violations);

// What is wrong with the adapters of a request to `model`, besides what CheckAdapters finds. Reads
// the headers of their files, which takes a while.
absl::Status CheckAdapterFiles(const denoised::v1::GenerateRequest& request, const Model& model,
                               AdapterCatalog& catalog);

// Reads those adapters of a request to `model` that are not in memory, which takes a while. None if
// the model takes none. InvalidArgument names those that cannot be used, but not what CheckAdapters
// finds; other errors are those of AdapterLibrary::Load.
absl::StatusOr<RequestedAdapters> LoadAdapters(
    const denoised::v1::GenerateRequest& request, const Model& model, AdapterLibrary& library,
    const AdapterLibrary::IsCancelled& is_cancelled = nullptr);

// For the rows of the request's images.
AppliedAdapters ToApplied(const RequestedAdapters& adapters);

void AddAdapters(const RequestedAdapters& adapters, denoised::v1::Accepted& accepted);

}  // namespace denoise
