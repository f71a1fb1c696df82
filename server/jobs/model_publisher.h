// From a checkpoint of a job to a model that is served.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/train/checkpoint_folder.h"
#include "denoised/v1/training.pb.h"
#include "server/jobs/store/job_observer.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/resource_names.h"
#include "server/jobs/store/state_dir.h"
#include "server/models/model_repository.h"
#include "server/models/models_folder.h"

namespace denoise {

// Thread-safe. What it points to outlives it.
class ModelPublisher {
 public:
  struct Environment {
    const StateDir* state;
    JobStore* store;
    ModelRepository* models;
    const ModelsFolder* models_folder;
    JobObserver* observer;  // may be null
  };
  explicit ModelPublisher(const Environment& environment) : environment_(environment) {}

  // The errors of PublishModel: after one, nothing has changed. A model that is served is published,
  // though the job could not note it. Takes as long as loading a model does.
  absl::StatusOr<ModelHandle> Publish(const denoised::v1::PublishModelRequest& request);

 private:
  absl::StatusOr<CheckpointReference> NewestCheckpoint(int64_t job) const;
  absl::StatusOr<TrainingSnapshot> LoadSnapshot(const CheckpointReference& source) const;
  absl::StatusOr<ModelHandle> Install(const std::string& model_id, bool allow_replace, int64_t job,
                                      StateDict weights, at::ScalarType dtype) const;
  absl::Status OfOurFiles(int64_t job, const absl::Status& status) const;
  void Note(const CheckpointReference& source, const Model& model) const;
  CheckpointFolder CheckpointsOf(int64_t job) const {
    return CheckpointFolder::ForReading(environment_.state->checkpoints(job));
  }

  const Environment environment_;
};

// The average of that index among `snapshot.tensors`, under the weights' own names.
StateDict EmaOf(const TrainingSnapshot& snapshot, size_t index);

}  // namespace denoise
