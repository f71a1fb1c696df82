// What a server keeps in the folder of --state: its database, data sets and training jobs.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "server/engine/engine.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/ranks/rank_gathering.h"
#include "server/jobs/training_jobs.h"
#include "server/models/live_models.h"
#include "server/models/model_repository.h"
#include "server/server_flags.h"

namespace denoise {

// Thread-safe.
class TrainingState {
 public:
  // Everything outlives the object.
  struct Environment {
    Engine* engine;
    ModelRepository* models;
    LiveModels* live_models;
    JobObserver* observer;
    const Clock* clock;
  };

  // Opens the folder, and continues what was under way when a server ended there.
  // ResourceExhausted: the disk is full. The status is for the operator.
  static absl::StatusOr<std::unique_ptr<TrainingState>> Open(const ServerFlags& flags,
                                                             const Environment& environment);

  DataSetStore* data_sets() { return data_sets_.get(); }
  TrainingJobs* jobs() { return jobs_.get(); }

  // Stops jobs between two steps, those that can by `deadline` with a checkpoint, and abandons the
  // reading of uploads. Both continue when a server starts there again.
  void Stop(absl::Time deadline);

 private:
  TrainingState(std::unique_ptr<StateDir> state, std::unique_ptr<Database> database,
                std::unique_ptr<RankGatherings> ranks, std::unique_ptr<DataSetStore> data_sets,
                std::unique_ptr<TrainingJobs> jobs);

  // Destroyed in reverse order.
  const std::unique_ptr<StateDir> state_;
  const std::unique_ptr<Database> database_;
  const std::unique_ptr<RankGatherings> ranks_;  // null without --ranks
  const std::unique_ptr<DataSetStore> data_sets_;
  const std::unique_ptr<TrainingJobs> jobs_;
};

}  // namespace denoise
