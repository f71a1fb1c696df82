// Turns requests into queued jobs.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/io/parsed_model.h"
#include "denoised/v1/training.pb.h"
#include "server/engine/engine.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/settings/common_settings.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"
#include "server/models/live_models.h"
#include "server/models/model_repository.h"

namespace denoise {

// Thread-safe. What it points to outlives it.
class JobCreator {
 public:
  struct Environment {
    const StateDir* state;
    const Clock* clock;
    JobStore* store;
    DataSetStore* data_sets;
    const Engine* engine;
    const ModelRepository* models;
    const LiveModels* live_models;
    int max_waiting_jobs = 0;
    int max_sampler_steps = 0;
    int64_t max_micro_batch_pixels = 0;
    bool has_inception = false;
  };
  explicit JobCreator(const Environment& environment) : environment_(environment) {}

  // Writes the model that the job starts from, then the job, so that a job in the store has
  // everything it needs. A request that is refused for what it asks takes no number; one that
  // fails after that, because the disk is full or another call took the last place, takes one.
  // Errors are those of CreateTrainingJob.
  absl::StatusOr<denoised::v1::TrainingJob> Create(
      const denoised::v1::CreateTrainingJobRequest& request, const Identity& caller);

 private:
  struct Prepared {
    denoised::v1::TrainingJob job;
    int64_t data_set = 0;
    ParsedModel base;
  };

  absl::StatusOr<Prepared> Prepare(const denoised::v1::CreateTrainingJobRequest& request,
                                   const Identity& caller) const;
  // The rest of a job of which the request is known.
  absl::StatusOr<Prepared> PrepareTraining(denoised::v1::TrainingJob job,
                                           const Identity& caller) const;
  absl::StatusOr<Prepared> PrepareEvaluation(denoised::v1::TrainingJob job,
                                             const Identity& caller) const;
  SettingsContext ContextOf(const ModelInfo& model, const denoised::v1::Dataset& data_set,
                            uint64_t seed) const;
  // What a training job starts from; fills in the settings of a new network.
  absl::StatusOr<ParsedModel> MakeBase(denoised::v1::TrainingSettings& settings,
                                       const denoised::v1::Dataset& data_set) const;
  absl::StatusOr<ParsedModel> OpenServedModel(std::string_view field,
                                              const std::string& name) const;
  absl::Status WriteFolder(int64_t id, const denoised::v1::CreateTrainingJobRequest& request,
                           const std::string& hash, const Prepared& prepared) const;
  absl::Status WriteManifest(int64_t id, const denoised::v1::CreateTrainingJobRequest& request,
                             const std::string& hash, const denoised::v1::TrainingJob& job) const;
  absl::StatusOr<DataSetStore::Stored> FindDataSet(std::string_view field, const std::string& name,
                                                   const Identity& caller) const;

  const Environment environment_;
};

}  // namespace denoise
