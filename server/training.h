// What a server has besides where it keeps state (--state): data sets, training jobs, their services.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/grpc_listener.h"
#include "server/jobs/datasets/data_set_store.h"
#include "server/jobs/training_jobs.h"
#include "server/rpc/datasets_service.h"
#include "server/rpc/training_service.h"
#include "server/server_flags.h"

namespace denoise {

class Training {
 public:
  // What it works with; all of it outlives the object.
  struct Environment {
    Engine* engine;
    ModelRepository* models;
    const ModelsFolder* models_folder;
    JobObserver* observer;
    CallEnvironment calls;
  };

  // Takes the folder of --state, and goes on with what was under way when a server ended there. The
  // status is for the operator.
  static absl::StatusOr<std::unique_ptr<Training>> Start(const ServerFlags& flags,
                                                         const Environment& environment);

  std::vector<NamedService> services() {
    return {{denoised::v1::Training::service_full_name(), &training_service_},
            {denoised::v1::Datasets::service_full_name(), &datasets_service_}};
  }

  // Jobs stop between two steps and save what they have, those that can by `deadline`; the reading of
  // uploads is given up. Both go on when a server is started there again.
  void Stop(absl::Time deadline);

 private:
  Training(std::unique_ptr<StateDir> state, std::unique_ptr<Database> database,
           std::unique_ptr<DataSetStore> data_sets, std::unique_ptr<TrainingJobs> jobs,
           const CallEnvironment& calls);

  // Destroyed in reverse order.
  const std::unique_ptr<StateDir> state_;
  const std::unique_ptr<Database> database_;
  const std::unique_ptr<DataSetStore> data_sets_;
  const std::unique_ptr<TrainingJobs> jobs_;
  TrainingService training_service_;
  DatasetsService datasets_service_;
};

}  // namespace denoise
