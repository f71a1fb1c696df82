#include "server/rpc/outbox.h"

#include <algorithm>
#include <utility>

namespace denoise {
namespace {

int64_t SampleBytes(const FrameUpdate& frame) {
  return frame.sample.numel() * static_cast<int64_t>(sizeof(float));
}

}  // namespace

void Outbox::PushEvent(denoised::v1::GenerateEvent event) { items_.push_back(std::move(event)); }

void Outbox::PushQueuePosition(int position) {
  if (!items_.empty() && std::holds_alternative<QueuePosition>(items_.back())) items_.pop_back();
  items_.push_back(QueuePosition{position});
}

void Outbox::PushProgress(absl::Time now) {
  if (progress_waits_ || now < next_progress_) return;
  next_progress_ = now + limits_.progress_interval;
  progress_waits_ = true;
  items_.push_back(ProgressMark{});
}

void Outbox::PushFrame(FrameUpdate frame) {
  const int64_t bytes = SampleBytes(frame);
  ++previews_[PreviewOf(frame)];
  while (frames_ > 0 && (frames_ >= limits_.frames || frame_bytes_ + bytes > limits_.frame_bytes)) {
    DropFrame();
  }
  ++frames_;
  frame_bytes_ += bytes;
  items_.push_back(std::move(frame));
}

void Outbox::PushImage(ImageUpdate image) { items_.push_back(std::move(image)); }

std::optional<OutboxItem> Outbox::Pop() {
  if (items_.empty()) return std::nullopt;
  OutboxItem item = std::move(items_.front());
  items_.pop_front();
  if (const auto* frame = std::get_if<FrameUpdate>(&item)) {
    Forget(*frame);
  } else if (std::holds_alternative<ProgressMark>(item)) {
    progress_waits_ = false;
  }
  return item;
}

void Outbox::Clear() {
  items_.clear();
  previews_.clear();
  frames_ = 0;
  frame_bytes_ = 0;
  progress_waits_ = false;
}

void Outbox::DropFrame() {
  auto dropped = std::find_if(items_.begin(), items_.end(), [this](const OutboxItem& item) {
    const auto* frame = std::get_if<FrameUpdate>(&item);
    return frame != nullptr && previews_.at(PreviewOf(*frame)) > 1;
  });
  if (dropped == items_.end()) {
    dropped = std::find_if(items_.begin(), items_.end(), [](const OutboxItem& item) {
      return std::holds_alternative<FrameUpdate>(item);
    });
  }
  Forget(std::get<FrameUpdate>(*dropped));
  ++frames_dropped_;
  items_.erase(dropped);
}

void Outbox::Forget(const FrameUpdate& frame) {
  --frames_;
  frame_bytes_ -= SampleBytes(frame);
  const auto preview = previews_.find(PreviewOf(frame));
  if (--preview->second == 0) previews_.erase(preview);
}

}  // namespace denoise
