// An evaluation job while it runs. One that is stopped begins anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/evaluation/model_evaluation.h"
#include "server/jobs/runs/run_task.h"

namespace denoise {

class EvaluationTask final : public RunTask {
 public:
  EvaluationTask(std::unique_ptr<ModelEvaluation> evaluation, RunRecorder* recorder,
                 JobObserver* observer, std::function<void()> ended);

 private:
  Outcome Turn() override;
  void TellProgress();

  const std::unique_ptr<ModelEvaluation> evaluation_;
  int64_t told_ = 0;          // pictures, of the last progress
  bool result_told_ = false;  // and perhaps not written yet
};

}  // namespace denoise
