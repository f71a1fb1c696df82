// Makes checkpoints of jobs models that are served.
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
#include "server/models/live_models.h"
#include "server/models/model_repository.h"

namespace denoise {

// Thread-safe. What it points to outlives it.
class ModelPublisher {
 public:
  struct Environment {
    const StateDir* state;
    JobStore* store;
    ModelRepository* models;
    LiveModels* live_models;
    JobObserver* observer;  // may be null
  };
  explicit ModelPublisher(const Environment& environment) : environment_(environment) {}

  // Errors are those of PublishModel; nothing has changed after one. Once the model is served this
  // succeeds, even if the job's event cannot be written. Takes as long as loading a model.
  absl::StatusOr<ModelHandle> Publish(const denoised::v1::PublishModelRequest& request,
                                      const LiveModels::IsCancelled& is_cancelled);

 private:
  // FailedPrecondition says when there will be a checkpoint, or which there are.
  absl::StatusOr<CheckpointReference> NewestCheckpoint(int64_t id,
                                                       const denoised::v1::TrainingJob& job) const;
  absl::StatusOr<TrainingSnapshot> LoadSnapshot(const CheckpointReference& source,
                                                const denoised::v1::TrainingJob& job) const;
  absl::StatusOr<ModelHandle> Install(const std::string& model_id, bool allow_replace, int64_t job,
                                      StateDict weights, at::ScalarType dtype,
                                      const LiveModels::IsCancelled& is_cancelled) const;
  absl::Status ErrorOfOurFiles(int64_t job, const absl::Status& status) const;
  void RecordPublication(const CheckpointReference& source, const Model& model) const;
  CheckpointFolder CheckpointsOf(int64_t job) const {
    return CheckpointFolder::ForReading(environment_.state->checkpoints(job));
  }

  const Environment environment_;
};

// The weights of the moving average number `index` in `snapshot.tensors`, under their own names.
StateDict EmaOf(const TrainingSnapshot& snapshot, size_t index);

}  // namespace denoise
