// Reads files of adapters.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "core/io/safetensors.h"
#include "core/nn/adapter.h"
#include "core/pipeline/adapter_names.h"

namespace denoise {

// A larger file is refused unread.
inline constexpr size_t kMaxAdapterBytes = size_t{4} << 30;

// The adapter in the safetensors file at `path`, for the model that PipelineDescription::adapters
// describes; on the CPU in float32. The file is hostile. Errors as those of SafetensorsFile::Open
// and PlanAdapter; InvalidArgument also for values that are not finite.
absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const std::filesystem::path& path,
                                                           const AdapterTarget& target);
absl::StatusOr<std::shared_ptr<const Adapter>> ReadAdapter(const SafetensorsFile& file,
                                                           const AdapterTarget& target);

}  // namespace denoise
