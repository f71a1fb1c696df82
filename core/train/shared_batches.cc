#include "core/train/shared_batches.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr absl::Duration kEndTimeout = absl::Seconds(2);
// In place of a step's number.
constexpr int64_t kEnd = 0, kFinished = -1;

at::Tensor Announcement(int64_t step) { return at::full({1}, step, at::kLong); }

TrainingRows Part(const TrainingRows& rows, int first, int count) {
  return {.x0 = rows.x0.narrow(0, first, count),
          .class_labels = rows.class_labels.narrow(0, first, count)};
}

}  // namespace

SentBatches::SentBatches(std::shared_ptr<BatchSource> batches, int batch_size, RankGroup* group)
    : batches_(std::move(batches)), batch_size_(batch_size), group_(group) {}

// In a group that has failed nobody hears it, and in the middle of a step nobody listens.
SentBatches::~SentBatches() {
  if (group_->failed()) return;
  for (int rank = 1; rank < group_->size(); ++rank)
    Send(Announcement(finished_ ? kFinished : kEnd), rank);
  (void)Wait(kEndTimeout);
}

void SentBatches::Send(at::Tensor tensor, int to) {
  sending_.push_back(group_->StartSending(tensor.contiguous(), to));
}

absl::Status SentBatches::Wait(absl::Duration timeout) {
  for (const RankGroup::Sending& wait : std::exchange(sending_, {})) {
    RETURN_IF_ERROR(wait(timeout));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainingRows> SentBatches::Rows(int64_t step, int first, int count) {
  if (step != step_) {
    ASSIGN_OR_RETURN(const TrainingRows batch, batches_->Rows(step, 0, batch_size_));
    RETURN_IF_ERROR(
        Wait(group_->timeout()));  // for those of the step before, which were received long ago
    for (int rank = 1; rank < group_->size(); ++rank) {
      const RankGroup::Share share = group_->ShareOf(rank, batch_size_);
      const TrainingRows part = Part(batch, share.first, share.rows());
      Send(Announcement(step), rank);
      Send(part.x0, rank);
      Send(part.class_labels, rank);
    }
    rows_ = Part(batch, 0, group_->share(batch_size_).rows());
    step_ = step;
  }
  return Part(rows_, first, count);
}

ReceivedBatches::ReceivedBatches(const NetworkSpec& spec, int batch_size, int64_t pictures,
                                 RankGroup* group)
    : sample_(spec.sample),
      share_(group->share(batch_size)),
      pictures_(pictures),
      group_(group),
      rows_{.x0 = at::empty({share_.rows(), sample_.channels, sample_.height, sample_.width},
                            at::kFloat),
            .class_labels = at::empty({share_.rows()}, at::kLong)} {}

absl::StatusOr<TrainingRows> ReceivedBatches::Rows(int64_t step, int first, int count) {
  if (step != step_) RETURN_IF_ERROR(Receive(step));
  return Part(rows_, first - share_.first, count);
}

absl::StatusOr<int64_t> ReceivedBatches::NextStep() {
  at::Tensor announced = Announcement(kEnd);
  RETURN_IF_ERROR(group_->Receive(announced, 0, kPatience));
  const int64_t number = announced.item<int64_t>();
  if (number == kEnd) return absl::CancelledError("the leader has ended the run for now");
  if (number == kFinished) return absl::OutOfRangeError("the job is finished");
  return number;
}

absl::Status ReceivedBatches::WaitForEnd() {
  ASSIGN_OR_RETURN(const int64_t step, NextStep());
  return absl::InternalError(absl::StrCat("the leader is at step ", step, " after the last one"));
}

absl::Status ReceivedBatches::Receive(int64_t step) {
  ASSIGN_OR_RETURN(const int64_t number, NextStep());
  if (number != step) {
    return absl::InternalError(
        absl::StrCat("the leader is at step ", number, ", this rank at ", step));
  }
  RETURN_IF_ERROR(group_->Receive(rows_.x0, 0, group_->timeout()));
  RETURN_IF_ERROR(group_->Receive(rows_.class_labels, 0, group_->timeout()));
  step_ = step;
  return absl::OkStatus();
}

}  // namespace denoise
