// Configurations of new models.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/io/parsed_model.h"

namespace denoise {

// A UNet2DModel to be trained from scratch, and its noise schedule.
struct NewModelOptions {
  int64_t height = 0;  // pixels, at most 1024; both a multiple of 2^(levels - 1)
  int64_t width = 0;
  int64_t channels = 3;  // 1 or 3
  // The channels of each level, finest first: 1 to 8 levels of 8 to 2048 channels.
  std::vector<int64_t> block_out_channels = {64, 128, 128, 128};
  // The levels with attention, by index. The middle block has attention, too, unless this is empty.
  // Absent: the levels of 16 x 16 pixels and less. At most 64 x 64 pixels may attend to each other.
  std::optional<std::vector<int64_t>> attention_levels;
  int64_t layers_per_block = 2;  // 1 to 8

  // "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid" (variance preserving), "edm" or
  // "flow".
  std::string noise_schedule = "squaredcos_cap_v2";
  int64_t num_train_timesteps = 1000;  // 50 to 10000
  // "epsilon", "sample", "v_prediction" or "flow_prediction". Empty: v_prediction, but epsilon with
  // "edm" and flow_prediction with "flow". Flow matching allows nothing else, EDM also
  // v_prediction.
  std::string prediction_type;
  // Learns a variance between the two fixed ones (Nichol & Dhariwal 2021). Variance preserving
  // schedules only.
  bool learned_variance = false;

  // Class-conditional unless empty: label i is class_names[i], and one more label stands for no
  // class.
  std::vector<std::string> class_names;
  bool scale_shift_norm = false;  // a scale and a shift after each block's second norm
};

// Makes the configurations of a model, with the keys, classes and pipeline of the Python library.
// It has no weights yet: InitializeUNet2D draws them.
//
// What the options do not say follows from them: norm groups are the largest power of two, up to
// 32, that divides all channels; heads have 64 channels, or there is one head where 64 does not
// divide; betas run from 0.1 / T to 20 / T over T timesteps (Ho et al. 2020 have T = 1000), so that
// the last timestep is as noisy for any T.
//
// InvalidArgument with field violations named as the options, also for networks of more than 500
// million parameters.
absl::StatusOr<ParsedModel> NewModel(const NewModelOptions& options);

}  // namespace denoise
