// Noise schedules: how much signal and noise an image contains at each timestep,
//
//     x = alpha * x0 + sigma * epsilon
//
// where the timestep is an input of the network. Each family has its own class; Schedule is their
// common interface. Computes in double on the host. Immutable; no LibTorch.
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
  // InvalidArgument with field violations named like the members of the options.
  static absl::StatusOr<Schedule> Create(const ScheduleOptions& options);

  ScheduleFamily family() const;
  // The schedule as a `Family`; null if it belongs to another one.
  template <class Family>
  const Family* As() const {
    return std::get_if<Family>(&family_);
  }

  int num_train_timesteps() const;
  double image_timestep() const;              // of the image itself, without noise
  double timestep_min() const;                // of the networks' inputs, with the least
  double timestep_max() const;                // and the most noise
  NoiseLevel LevelAt(double timestep) const;  // see each family for the range
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
