#include "core/sampling/schedules/schedule.h"

#include "core/base/status_macros.h"

namespace denoise {
namespace {

absl::StatusOr<VpSchedule> CreateFamily(const VpOptions& options) {
  return VpSchedule::Create(options);
}
absl::StatusOr<EdmSchedule> CreateFamily(const EdmOptions& options) {
  return EdmSchedule::Create(options);
}
absl::StatusOr<FlowSchedule> CreateFamily(const FlowOptions& options) {
  return FlowSchedule::Create(options);
}

}  // namespace

absl::StatusOr<Schedule> Schedule::Create(const ScheduleOptions& options) {
  return std::visit(
      [](const auto& family_options) -> absl::StatusOr<Schedule> {
        ASSIGN_OR_RETURN(auto family, CreateFamily(family_options));
        return Schedule(std::move(family));
      },
      options);
}

ScheduleFamily Schedule::family() const {
  if (As<FlowSchedule>() != nullptr) return ScheduleFamily::kFlow;
  const EdmSchedule* edm = As<EdmSchedule>();
  if (edm == nullptr) return ScheduleFamily::kVariancePreserving;
  return edm->options().consistency_model ? ScheduleFamily::kConsistency : ScheduleFamily::kEdm;
}

int Schedule::num_train_timesteps() const {
  return std::visit([](const auto& family) { return family.num_train_timesteps(); }, family_);
}

double Schedule::image_timestep() const {
  return std::visit([](const auto& family) { return family.image_timestep(); }, family_);
}

double Schedule::timestep_min() const {
  return std::visit([](const auto& family) { return family.timestep_min(); }, family_);
}

double Schedule::timestep_max() const {
  return std::visit([](const auto& family) { return family.timestep_max(); }, family_);
}

NoiseLevel Schedule::LevelAt(double timestep) const {
  return std::visit([&](const auto& family) { return family.LevelAt(timestep); }, family_);
}

double Schedule::TimestepAt(const NoiseLevel& level) const {
  return std::visit([&](const auto& family) { return family.TimestepAt(-level.lambda()); },
                    family_);
}

}  // namespace denoise
