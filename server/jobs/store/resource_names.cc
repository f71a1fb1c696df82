#include "server/jobs/store/resource_names.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/resource_id.h"

namespace denoise {
namespace {

constexpr std::string_view kJobs = "trainingJobs/";
constexpr std::string_view kCheckpoints = "/checkpoints/";
constexpr std::string_view kDataSets = "datasets/";

// Only the form that we write ourselves: "007" and "+7" are no names.
std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number) || number < 0 ||
      std::to_string(number) != text) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

std::string JobName(int64_t id) { return std::string(kJobs).append(std::to_string(id)); }

std::optional<int64_t> ParseJobName(std::string_view name) {
  if (!name.starts_with(kJobs)) return std::nullopt;
  return ParseNumber(name.substr(kJobs.size()));
}

std::string CheckpointName(const CheckpointReference& checkpoint) {
  return JobName(checkpoint.job).append(kCheckpoints).append(std::to_string(checkpoint.step));
}

std::optional<CheckpointReference> ParseCheckpointName(std::string_view name) {
  const size_t middle = name.find(kCheckpoints);
  if (middle == std::string_view::npos) return std::nullopt;
  const auto job = ParseJobName(name.substr(0, middle));
  const auto step = ParseNumber(name.substr(middle + kCheckpoints.size()));
  if (!job || !step) return std::nullopt;
  return CheckpointReference{*job, *step};
}

std::string DataSetName(std::string_view id) { return std::string(kDataSets).append(id); }

std::optional<std::string> ParseDataSetName(std::string_view name) {
  if (!name.starts_with(kDataSets)) return std::nullopt;
  const std::string_view id = name.substr(kDataSets.size());
  if (!IsValidResourceId(id)) return std::nullopt;
  return std::string(id);
}

}  // namespace denoise
