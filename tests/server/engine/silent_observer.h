// An observer that ignores everything, to override what a test listens to.
#pragma once

#include <string>

#include "server/engine/engine.h"

namespace denoise {

class SilentObserver : public EngineObserver {
 public:
  void OnSubmit() override {}
  void OnQueueDepth(int) override {}
  void OnOutstandingCost(absl::Duration) override {}
  void OnTurn(const std::string&, const TurnReport&) override {}
  void OnActiveRows(const std::string&, int) override {}
  void OnBatchFailed(const std::string&, const std::string&) override {}
  void OnCaptureFailed(const std::string&, const std::string&) override {}
  void OnEvaluation(const std::string&, const EvaluationReport&) override {}
  void OnEncode(const std::string&, absl::Duration) override {}
  void OnDecode(const std::string&, const DecodeReport&) override {}
  void OnDecodeQueue(const std::string&, int) override {}
  void OnSlice(const std::string&, absl::Duration) override {}
  void OnTaskFailed(const std::string&, const std::string&) override {}
};

}  // namespace denoise
