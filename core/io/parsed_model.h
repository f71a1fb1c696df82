// A model in the diffusers layout, parsed: the texts of its configurations, what they say, and
// where its weights come from. Files are parsed once, where they enter; everybody else gets this.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/state_dict.h"
#include "core/nn/unet2d_config.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

struct Weights;  // core/io/weights.h

// The texts of a folder's configurations, unchanged: keys that we do not read are passed on.
struct ModelTexts {
  std::string model_index;       // model_index.json
  std::string unet_config;       // unet/config.json
  std::string scheduler_config;  // scheduler/scheduler_config.json
};

// Where the texts are, relative to the model's folder; errors name them so.
struct ModelFileNames {
  std::string model_index = "model_index.json";
  std::string unet_config = "unet/config.json";
  std::string scheduler_config = "scheduler/scheduler_config.json";
};

// What the texts say.
struct ModelDescription {
  UNet2DConfig unet;
  SchedulerConfig scheduler;
  Schedule schedule;                        // the scheduler's
  std::map<int64_t, std::string> id2label;  // class names, may be empty
  std::optional<int64_t> null_class_label;  // the class that stands for none
  std::string source;                       // "DDPMPipeline / UNet2DModel, diffusers 0.40.0"
  // Per file, the keys that were ignored: "unet/config.json: decay, power". Empty if none were.
  std::vector<std::string> ignored_keys = {};
};

// Texts and description always agree. Copies share the weights. Const methods are thread-safe.
class ParsedModel {
 public:
  // Parses `texts`, which are hostile. InvalidArgument names the file and carries its field
  // violations: anything malformed, not supported, or at odds with another file (labels and
  // classes, learned variance and channels, timesteps). There are no weights yet.
  static absl::StatusOr<ParsedModel> Parse(ModelTexts texts, const ModelFileNames& names = {});

  // Parses the texts of `folder` and opens the files of its weights, of which only the headers are
  // read. Errors are those of LoadCheckpoint.
  static absl::StatusOr<ParsedModel> Open(const std::filesystem::path& folder);
  // The same without weights: cheap, however large they are.
  static absl::StatusOr<ParsedModel> OpenConfigs(const std::filesystem::path& folder);

  const ModelTexts& texts() const { return texts_; }
  const ModelFileNames& names() const { return names_; }
  const ModelDescription& description() const { return description_; }

  // The weights as they were given: any floating dtype, names current or historical.
  const Weights& weights() const { return *weights_; }
  // The weights as they are trained: float32 on the CPU under their current names, in storage of
  // their own. InvalidArgument names the weights that are missing, do not fit or are not finite.
  // Aborted: their files have been written to since they were opened.
  absl::StatusOr<StateDict> LoadWeights() const;

  void SetWeights(StateDict weights);

 private:
  ParsedModel(ModelTexts texts, ModelFileNames names, ModelDescription description);

  ModelTexts texts_;
  ModelFileNames names_;
  ModelDescription description_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace denoise
