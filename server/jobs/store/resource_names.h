// The names of jobs, their checkpoints and data sets in the contract.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace denoise {

// "trainingJobs/17". Ids are 1, 2, 3, ... in order of creation, and never reused.
std::string JobName(int64_t id);
// nullopt where the name is malformed.
std::optional<int64_t> ParseJobName(std::string_view name);

// "trainingJobs/17/checkpoints/500".
struct CheckpointReference {
  int64_t job = 0;
  int64_t step = 0;

  bool operator==(const CheckpointReference&) const = default;
};
std::string CheckpointName(const CheckpointReference& checkpoint);
std::optional<CheckpointReference> ParseCheckpointName(std::string_view name);

// "datasets/emoji", with a valid resource id (core/base/resource_id.h).
std::string DataSetName(std::string_view id);
std::optional<std::string> ParseDataSetName(std::string_view name);

}  // namespace denoise
