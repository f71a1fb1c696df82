// Reads files of adapters.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "core/io/safetensors.h"
#include "core/nn/adapter.h"
#include "core/pipeline/adapter_plan.h"

namespace denoise {

// A larger file is refused unread.
inline constexpr size_t kMaxAdapterBytes = size_t{4} << 30;

// The adapter that `plan` finds in `file`, on the CPU in float32. The file is hostile.
// InvalidArgument for values that are not finite; other errors are those of
// StoredTensor::Load. `kept` as in Adapter::Create.
absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(
    const SafetensorsFile& file, const AdapterPlan& plan,
    std::shared_ptr<const void> kept = nullptr);

// The adapter in the safetensors file at `path`, for the model that PipelineDescription::adapters
// describes. Errors as those of SafetensorsFile::Open, PlanAdapter and the above.
absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const std::filesystem::path& path,
                                                           const AdapterTarget& target);

}  // namespace denoise
