// The batches of a run that several ranks share: the leader reads them and sends each its rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/nn/network.h"
#include "core/ranks/rank_group.h"
#include "core/train/trainer.h"

namespace denoise {

// The leader's, rank 0. Asked for the first row of a step, it reads the whole batch and sends the
// others their shares, which tells them to take the step. The last thing it sends says that the run
// has ended, for now or for good. The error of `batches` is passed on before anything was sent, so
// that the leader may ask again.
class SentBatches : public BatchSource {
 public:
  // `group` outlives it.
  SentBatches(std::shared_ptr<BatchSource> batches, int batch_size, RankGroup* group);
  ~SentBatches() override;  // lets the others know

  absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) override;
  int64_t pictures() const override { return batches_->pictures(); }
  void SetFinished() { finished_ = true; }

 private:
  absl::Status Wait(absl::Duration timeout);
  void Send(at::Tensor tensor, int to);

  const std::shared_ptr<BatchSource> batches_;
  const int batch_size_;
  RankGroup* const group_;
  bool finished_ = false;
  int64_t step_ = 0;   // that was sent
  TrainingRows rows_;  // of it, the leader's own
  std::vector<RankGroup::Sending> sending_;
};

// Those of another rank. Cancelled: the leader has ended the run for now. OutOfRange: for good.
class ReceivedBatches : public BatchSource {
 public:
  // How long a leader may take between two steps, such as for an evaluation. Who waits finds out in
  // another way whether it is still there.
  static constexpr absl::Duration kPatience = absl::Hours(24);

  // `group` outlives it. `spec` is the network's, `pictures` how many the data set has.
  ReceivedBatches(const NetworkSpec& spec, int batch_size, int64_t pictures, RankGroup* group);

  absl::StatusOr<TrainingRows> Rows(int64_t step, int first, int count) override;
  int64_t pictures() const override { return pictures_; }
  // After the last step: returns how the run has ended, as Rows does.
  absl::Status WaitForEnd();

 private:
  absl::StatusOr<int64_t> NextStep();
  absl::Status Receive(int64_t step);

  const SampleShape sample_;
  const RankGroup::Share share_;
  const int64_t pictures_;
  RankGroup* const group_;
  int64_t step_ = 0;
  TrainingRows rows_;
};

}  // namespace denoise
