// From a checkpoint of a job to a model that is served.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/checkpoint_folders.h"
#include "server/jobs/job_store.h"
#include "server/jobs/resource_names.h"
#include "server/jobs/state_dir.h"
#include "server/models/model_repository.h"
#include "server/models/models_folder.h"

namespace denoise {

// Thread-safe. What it points to outlives it.
class ModelPublisher {
 public:
  struct Environment {
    const StateDir* state;
    JobStore* store;
    CheckpointFolders* checkpoints;
    ModelRepository* models;
    const ModelsFolder* models_folder;
  };
  explicit ModelPublisher(const Environment& environment) : environment_(environment) {}

  // The errors of PublishModel. Takes as long as loading a model does.
  absl::StatusOr<ModelHandle> Publish(const denoised::v1::PublishModelRequest& request);

 private:
  absl::StatusOr<CheckpointReference> NewestCheckpoint(int64_t job) const;
  absl::StatusOr<TrainingSnapshot> LoadSnapshot(const CheckpointReference& source) const;

  const Environment environment_;
};

// The average of that index among `snapshot.tensors`, under the weights' own names.
StateDict EmaOf(const TrainingSnapshot& snapshot, size_t index);

}  // namespace denoise
