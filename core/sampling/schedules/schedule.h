// Noise schedules: how much signal and how much noise an image holds at each timestep,
//
//     x = alpha * x0 + sigma * epsilon
//
// where a timestep is what the network is told. Each family is a class of its own; what holds for
// all of them is asked of a Schedule. Host doubles, immutable, no LibTorch.
#pragma once

#include <variant>

#include "absl/status/statusor.h"
#include "core/sampling/schedules/edm_schedule.h"
#include "core/sampling/schedules/flow_schedule.h"
#include "core/sampling/schedules/noise_level.h"
#include "core/sampling/schedules/vp_schedule.h"

namespace denoise {

enum class ScheduleFamily {
  kVariancePreserving,  // VpSchedule
  kEdm,                 // EdmSchedule
  kConsistency,         // EdmSchedule of a consistency model
  kFlow,                // FlowSchedule
};

using ScheduleOptions = std::variant<VpOptions, EdmOptions, FlowOptions>;

class Schedule {
 public:
  // InvalidArgument with field violations named as the members of the options.
  static absl::StatusOr<Schedule> Create(const ScheduleOptions& options);

  ScheduleFamily family() const;
  // The schedule as one of its family; null where it is of another.
  template <class Family>
  const Family* As() const {
    return std::get_if<Family>(&family_);
  }

  int num_train_timesteps() const;
  double image_timestep() const;              // stands for the image itself, without noise
  double timestep_min() const;                // what networks are told, from
  double timestep_max() const;                // the least to the most noise
  NoiseLevel LevelAt(double timestep) const;  // each family says down to where
  double alpha(double timestep) const { return LevelAt(timestep).alpha; }
  double sigma(double timestep) const { return LevelAt(timestep).sigma; }
  // The timestep whose level has the signal-to-noise ratio of `level`.
  double TimestepAt(const NoiseLevel& level) const;

 private:
  using Families = std::variant<VpSchedule, EdmSchedule, FlowSchedule>;

  explicit Schedule(Families family) : family_(std::move(family)) {}

  Families family_;
};

}  // namespace denoise
