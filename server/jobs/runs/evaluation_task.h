// An evaluation job while it runs. After a stop it starts over.
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
  Outcome Work() override;
  void ReportProgress();

  const std::unique_ptr<ModelEvaluation> evaluation_;
  int64_t reported_ = 0;          // pictures, in the last progress event
  bool result_reported_ = false;  // but perhaps not written yet
};

}  // namespace denoise
