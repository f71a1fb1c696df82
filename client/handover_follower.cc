#include "client/handover_follower.h"

#include <utility>

namespace denoise {

namespace v1 = denoised::v1;

bool HandoverFollower::IsNews(v1::GenerateEvent& event) {
  is_unanswered_ = false;
  if (event.has_accepted() && last_sequence_ >= 0) return false;
  if (event.has_image() && !images_.insert(event.image().image_index()).second) return false;
  if (event.handover().paused()) {
    token_.clear();
  } else if (event.has_handover()) {
    token_ = std::move(*event.mutable_handover()->mutable_token());
    event.mutable_handover()->clear_token();
    attempts_ = 0;
  }
  if (event.sequence() <= last_sequence_) {
    const bool is_kept = event.has_image() || event.has_handover() || event.has_finished();
    if (!is_kept) return false;
    event.set_sequence(last_sequence_ + 1);
  }
  last_sequence_ = event.sequence();
  return true;
}

std::optional<v1::GenerateRequest> HandoverFollower::Continue(const absl::Status& status) {
  const bool is_lost = absl::IsUnavailable(status) || (absl::IsCancelled(status) && is_unanswered_);
  if (token_.empty() || !is_lost || attempts_ == kMaxAttempts) return std::nullopt;
  ++attempts_;
  is_unanswered_ = true;
  v1::GenerateRequest request;
  request.set_handover(token_);
  return request;
}

}  // namespace denoise
