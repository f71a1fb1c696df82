// The part of a server that keeps state (--state): data sets, training jobs and their services.
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

class TrainingServices {
 public:
  // Everything outlives the object.
  struct Environment {
    Engine* engine;
    ModelRepository* models;
    LiveModels* live_models;
    JobObserver* observer;
    CallEnvironment calls;
  };

  // Opens the folder of --state, and continues what was under way when a server ended there. The
  // status is for the operator.
  static absl::StatusOr<std::unique_ptr<TrainingServices>> Start(const ServerFlags& flags,
                                                                 const Environment& environment);

  std::vector<NamedService> services() {
    return {{denoised::v1::Training::service_full_name(), &training_service_},
            {denoised::v1::Datasets::service_full_name(), &datasets_service_}};
  }

  // Stops jobs between two steps, those that can by `deadline` with a checkpoint, and abandons the
  // reading of uploads. Both continue when a server starts there again.
  void Stop(absl::Time deadline);

 private:
  TrainingServices(std::unique_ptr<StateDir> state, std::unique_ptr<Database> database,
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
