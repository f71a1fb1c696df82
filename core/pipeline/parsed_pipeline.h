// A checkpoint folder, parsed: what it is, what it can be asked for, and where its weights are.
// Families are recognised by `_class_name` in model_index.json; nobody else needs to know them.
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
#include "core/codec/codec.h"
#include "core/io/parsed_model.h"
#include "core/nn/network.h"
#include "core/nn/placement.h"
#include "core/pipeline/adapter_names.h"
#include "core/pipeline/pipeline.h"
#include "core/pipeline/prompt.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/schedules/schedule.h"

namespace denoise {

struct Weights;  // core/io/weights.h

// A part of a model that has weights.
struct PartDescription {
  std::string name;        // "unet", "vae", "text_encoder"
  std::string class_name;  // "UNet2DConditionModel"
  int64_t num_parameters = 0;
  bool overflows_in_half = false;  // where float16 is asked for, it computes in float32
  bool encodes_text = false;

  // Of its weights in a model that is loaded in `dtype`.
  int64_t MemoryBytes(at::ScalarType dtype) const;
};

// What is known of a model without its weights.
struct PipelineDescription {
  std::string source;  // "StableDiffusionPipeline / UNet2DConditionModel, diffusers 0.42.1"
  NetworkSpec network;
  CodecSpec codec;
  SchedulerConfig scheduler;
  Schedule schedule;                            // the scheduler's
  std::map<int64_t, std::string> id2label;      // class names, may be empty
  std::optional<int64_t> null_class_label;      // the class that stands for none
  std::shared_ptr<const PromptReader> prompts;  // null where the network is told no text
  double guidance_scale = 1;                    // where a request says nothing
  int64_t num_parameters = 0;                   // of all parts
  std::vector<std::string> ignored_keys;        // per file, as ModelDescription::ignored_keys
  std::vector<std::string> ignored_parts;       // "safety_checker"
  std::vector<PartDescription> parts = {};      // those with weights
  std::shared_ptr<const AdapterTarget> adapters = nullptr;  // null: the network takes none
};

struct PipelineOptions {
  // On the CPU, use kernels whose result for a row does not depend on the rest of the batch.
  bool batch_invariant = true;
  Placement placement = {};
  // The text encoders stay on the CPU, in TextDtypeOnCpu, wherever the rest is.
  bool text_encoders_on_cpu = false;
};

// What text encoders compute in on the CPU where a network computes in `dtype`: the same but for
// float16, which is not for CPUs.
at::ScalarType TextDtypeOnCpu(at::ScalarType dtype);

// One kind of model, behind ParsedPipeline. Immutable and thread-safe.
class PipelineParts {
 public:
  virtual ~PipelineParts() = default;
  // As the methods of ParsedPipeline.
  virtual const PipelineDescription& description() const = 0;
  virtual absl::StatusOr<std::string> Version() const = 0;
  virtual absl::StatusOr<Pipeline> Load(const PipelineOptions& options) const = 0;
  virtual std::map<std::string, std::string> Texts() const = 0;
  virtual const Weights* FindWeights(const std::string& part) const = 0;
};

// Immutable and thread-safe; copies share what they hold.
class ParsedPipeline {
 public:
  // A model that works on pixels.
  ParsedPipeline(ParsedModel model);  // not explicit: such a model is a pipeline

  // Parses the configurations of `folder` and opens the files of its weights, of which only the
  // headers are read. Every file is hostile; the errors are those of LoadCheckpoint.
  static absl::StatusOr<ParsedPipeline> Open(const std::filesystem::path& folder);
  // The same without weights: cheap, however large they are.
  static absl::StatusOr<ParsedPipeline> OpenConfigs(const std::filesystem::path& folder);

  // A model whose weights are all in `file`, in the original layout (single_file_layout.h), and
  // whose configurations and tokenizers are those of the folder `configs`. InvalidArgument says
  // what the file looks like if it is no such file, or how it differs from the configurations.
  static absl::StatusOr<ParsedPipeline> OpenSingleFile(const std::filesystem::path& file,
                                                       const std::filesystem::path& configs);

  const PipelineDescription& description() const { return parts_->description(); }

  // The configurations and tokenizer files that were read, by their names in a folder.
  std::map<std::string, std::string> Texts() const { return parts_->Texts(); }
  // The weights of a part, under the diffusers library's names and with the dtypes of the file.
  // Null: there is no such part, or there are no weights. Lives as long as this does.
  const Weights* FindWeights(const std::string& part) const { return parts_->FindWeights(part); }

  // A hash of configurations and weights, hexadecimal. Reads every byte of them, keeping nothing.
  // Aborted: a file has been written to since it was opened.
  absl::StatusOr<std::string> Version() const { return parts_->Version(); }

  // Builds the parts, reading each tensor straight to where it is to be, so that little more than
  // the weights is ever in memory. Errors name the file of the weights that are missing, do not fit
  // or are not finite. Aborted as Version. ResourceExhausted: the device is out of memory.
  absl::StatusOr<Pipeline> Load(const PipelineOptions& options) const {
    return parts_->Load(options);
  }

 private:
  explicit ParsedPipeline(std::shared_ptr<const PipelineParts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const PipelineParts> parts_;
};

// `pipeline` on `device`, its network and codec in `dtype`. Text encoders that are on the CPU
// beside a network elsewhere stay there. Throws c10::Error if there is no such device or it is out
// of memory.
Pipeline ToDevice(const Pipeline& pipeline, at::Device device, at::ScalarType dtype);

}  // namespace denoise
