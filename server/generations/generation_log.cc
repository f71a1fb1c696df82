#include "server/generations/generation_log.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Event = GenerationLog::Event;

int64_t Bytes(const at::Tensor& sample) {
  return sample.numel() * static_cast<int64_t>(sizeof(float));
}

bool IsFrame(const Event& event) { return std::holds_alternative<FrameUpdate>(event.what); }

// Leaves out images that do not fit, which then begin again: first those with the least work.
void KeepFurthest(std::vector<ImageSnapshot>& images, int64_t bytes_max) {
  std::stable_sort(images.begin(), images.end(),
                   [](const ImageSnapshot& a, const ImageSnapshot& b) {
                     return a.trajectory.evaluations_done > b.trajectory.evaluations_done;
                   });
  int64_t bytes = 0;
  std::erase_if(images, [&](const ImageSnapshot& image) {
    const int64_t more = Bytes(image.trajectory.slots);
    if (bytes + more > bytes_max) return true;
    bytes += more;
    return false;
  });
}

bool IsAfter(int64_t sequence, const Event& event) { return sequence < event.sequence; }

}  // namespace

GenerationLog::GenerationLog(Options options)
    : options_(std::move(options)),
      next_sequence_(options_.first_sequence),
      steps_done_(options_.steps_done),
      images_done_(options_.images_done) {
  const MutexLock lock(mutex_);
  last_step_ = options_.clock->Now();
  Append(options_.accepted, last_step_);
}

std::unique_ptr<GenerationLog::Reader> GenerationLog::Attach(int64_t after,
                                                             std::function<void()> wake,
                                                             bool takes_handover) {
  return std::make_unique<Reader>(this, after, std::move(wake), takes_handover);
}

GenerationLog::Reader::Reader(GenerationLog* log, int64_t after, std::function<void()> wake,
                              bool takes_handover)
    : log_(log), wake_(std::move(wake)), takes_handover_(takes_handover), position_(after) {
  const MutexLock lock(log_->mutex_);
  // From the beginning every frame counts that ever was; after that, those that are still there.
  frames_before_ = after < 0 ? 0 : log_->frames_total_ - log_->CountFramesAfter(after);
  log_->readers_.insert(this);
}

GenerationLog::Reader::~Reader() {
  const MutexLock lock(log_->mutex_);
  log_->readers_.erase(this);
}

std::optional<Event> GenerationLog::Reader::Next() {
  const MutexLock lock(log_->mutex_);
  const auto next =
      std::upper_bound(log_->events_.begin(), log_->events_.end(), position_, IsAfter);
  if (next == log_->events_.end()) return std::nullopt;
  position_ = next->sequence;
  if (IsFrame(*next)) ++frames_returned_;
  Event event = *next;
  // As it stands now, not as it stood when it came up.
  if (std::holds_alternative<Progress>(event.what)) {
    event.what = log_->CurrentProgress();
    event.time = log_->last_step_;
  }
  return event;
}

bool GenerationLog::Reader::over() const {
  const MutexLock lock(log_->mutex_);
  return log_->ended_.has_value() && position_ + 1 >= log_->next_sequence_;
}

int GenerationLog::Reader::frames_missed() const {
  const MutexLock lock(log_->mutex_);
  return log_->frames_total_ - log_->CountFramesAfter(position_) - frames_before_ -
         frames_returned_;
}

GenerationLog::Snapshot GenerationLog::snapshot() const {
  const MutexLock lock(mutex_);
  int64_t evaluations = 0;
  for (const auto& [image, count] : evaluations_) evaluations += count;
  return {.progress = CurrentProgress(),
          .last_sequence = next_sequence_ - 1,
          .started = started_,
          .queue_wait = started_ ? std::optional(queue_wait_) : std::nullopt,
          .ended = ended_,
          .status = status_,
          .paused = paused_,
          .evaluations = evaluations,
          .rows = rows_,
          .evaluations_handed_over = evaluations_handed_over_,
          .sample_bytes = frame_bytes_ + image_bytes_ + handover_bytes_};
}

void GenerationLog::OnQueued(const QueuePlace& place) {
  const MutexLock lock(mutex_);
  RemoveLatest<QueuePlace>();
  Append(place, options_.clock->Now());
}

void GenerationLog::OnStarted(absl::Duration queue_wait) {
  {
    const MutexLock lock(mutex_);
    started_ = options_.clock->Now();
    queue_wait_ = queue_wait;
    Append(Started{queue_wait}, *started_);
  }
  if (options_.on_started) options_.on_started({queue_wait});
}

void GenerationLog::OnEvaluated(int image_index, int rows) {
  const MutexLock lock(mutex_);
  ++evaluations_[image_index];
  rows_ += rows;
}

// Progress is news at most once per interval; each overtakes the one before.
void GenerationLog::OnStep(int /*image_index*/, int /*step*/) {
  const MutexLock lock(mutex_);
  ++steps_done_;
  last_step_ = options_.clock->Now();
  if (last_step_ < next_progress_) return;
  next_progress_ = last_step_ + options_.limits.progress_interval;
  RemoveLatest<Progress>();
  Append(Progress{}, last_step_);
}

// The newest frame always stays.
void GenerationLog::OnFrame(FrameUpdate frame) {
  const int64_t bytes = Bytes(frame.sample);
  const MutexLock lock(mutex_);
  ++previews_[{frame.image_index, frame.kind}];  // the one before is out of date now
  while (frames_ > 0 && (frames_ >= options_.limits.frames ||
                         frame_bytes_ + bytes > options_.limits.frame_bytes)) {
    DropFrame();
  }
  ++frames_;
  ++frames_total_;
  frame_bytes_ += bytes;
  Append(std::move(frame), options_.clock->Now());
}

void GenerationLog::OnImage(ImageUpdate image) {
  {
    const MutexLock lock(mutex_);
    images_done_.push_back(image.image_index);
    image_bytes_ += Bytes(image.sample);
    Append(std::move(image), options_.clock->Now());
  }
  if (options_.on_image) options_.on_image();
}

absl::Status GenerationLog::RequestPause() {
  const MutexLock lock(mutex_);
  if (handed_over_ && !paused_) {
    return absl::FailedPreconditionError("the generation is being handed over to another server");
  }
  const int64_t images = ImagesBegun();
  const int64_t bytes = images * options_.state_bytes;
  if (bytes > options_.limits.handover_bytes) {
    return WithErrorReason(
        absl::FailedPreconditionError(absl::StrCat(
            "the state of the ", images, " images that have begun takes ", bytes,
            " bytes, and the token of a pause has room for ", options_.limits.handover_bytes,
            ". Let some of them finish, ask for fewer images in a request, or raise "
            "--max-receive-bytes")),
        "PAUSE_UNAVAILABLE");
  }
  pause_requested_ = true;
  return absl::OkStatus();
}

bool GenerationLog::AcceptsHandover() {
  const MutexLock lock(mutex_);
  return options_.limits.handover_bytes > 0 && (pause_requested_ || IsFollowed());
}

// Whether somebody reads all of it, and would continue it elsewhere.
bool GenerationLog::IsFollowed() const {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const Reader* reader) { return reader->takes_handover_; });
}

void GenerationLog::OnHandover(std::vector<ImageSnapshot> images_begun) {
  KeepFurthest(images_begun, options_.limits.handover_bytes);
  const MutexLock lock(mutex_);
  for (const ImageSnapshot& image : images_begun) {
    handover_bytes_ += Bytes(image.trajectory.slots);
    evaluations_handed_over_ += image.trajectory.evaluations_done;
  }
  handed_over_ = true;
  paused_ = pause_requested_;
  // A token carries no finished pictures. If no caller of Generate is attached, nobody has them, so
  // these images are made again when the generation continues.
  const bool is_unread = paused_ && !IsFollowed();
  const std::vector<int>& done = is_unread ? options_.images_done : images_done_;
  evaluations_handed_over_ += static_cast<int64_t>(done.size()) * options_.accepted.evaluations();
  Append(Handover{{done, std::move(images_begun)}, paused_}, options_.clock->Now());
}

void GenerationLog::OnFinished(const absl::Status& status) {
  const absl::Time now = options_.clock->Now();
  End end{.status = status, .elapsed = now - options_.arrival};
  {
    const MutexLock lock(mutex_);
    if (paused_) end.status = PausedError();  // also where a drain has come first
    CountLost(end);
  }
  if (options_.on_ending) options_.on_ending(end);
  AppendEnd(end, now);
  if (options_.on_ended) options_.on_ended();
}

void GenerationLog::Refuse(const absl::Status& status) {
  const absl::Time now = options_.clock->Now();
  AppendEnd({.status = status, .elapsed = now - options_.arrival}, now);
}

void GenerationLog::AppendEnd(const End& end, absl::Time now) {
  const MutexLock lock(mutex_);
  ended_ = now;
  status_ = end.status;
  Append(end, now);
}

// Whose work would be lost without their state.
int64_t GenerationLog::ImagesBegun() const {
  std::set<int> begun(options_.images_begun.begin(), options_.images_begun.end());
  for (const auto& [image, count] : evaluations_) begun.insert(image);
  for (const int image : images_done_) begun.erase(image);
  return static_cast<int64_t>(begun.size());
}

// What is continued is not lost.
void GenerationLog::CountLost(End& end) const {
  if (end.status.ok() || handed_over_) return;
  const v1::Accepted& accepted = options_.accepted;
  end.evaluations_cancelled =
      int64_t{accepted.count()} * accepted.evaluations() - accepted.evaluations_done();
  for (const auto& [image, count] : evaluations_) {
    end.evaluations_cancelled -= count;
    const bool is_done =
        std::find(images_done_.begin(), images_done_.end(), image) != images_done_.end();
    if (!is_done) end.evaluations_wasted += count;
  }
}

// Wakes under the lock, so that a destroyed reader is never woken.
template <class What>
void GenerationLog::Append(What what, absl::Time now) {
  events_.push_back({next_sequence_++, now, std::move(what)});
  for (const Reader* reader : readers_) {
    if (reader->wake_) reader->wake_();
  }
}

template <class What>
void GenerationLog::RemoveLatest() {
  const auto latest = std::find_if(events_.rbegin(), events_.rend(), [](const Event& event) {
    return std::holds_alternative<What>(event.what);
  });
  if (latest != events_.rend()) events_.erase(std::prev(latest.base()));
}

void GenerationLog::DropFrame() {
  const auto dropped = FrameToDrop();
  const FrameUpdate& frame = std::get<FrameUpdate>(dropped->what);
  --frames_;
  frame_bytes_ -= Bytes(frame.sample);
  const auto preview = previews_.find({frame.image_index, frame.kind});
  if (--preview->second == 0) previews_.erase(preview);
  events_.erase(dropped);
}

// The oldest frame that every reader has; else the oldest that a later one of the same image and
// kind follows; else the oldest.
GenerationLog::Events::iterator GenerationLog::FrameToDrop() {
  const auto oldest = std::find_if(events_.begin(), events_.end(), IsFrame);
  if (oldest->sequence <= ReadByAll()) return oldest;
  const auto outdated = std::find_if(oldest, events_.end(), [this](const Event& event) {
    mutex_.AssertHeld();
    const auto* frame = std::get_if<FrameUpdate>(&event.what);
    return frame != nullptr && previews_.at({frame->image_index, frame->kind}) > 1;
  });
  return outdated != events_.end() ? outdated : oldest;
}

// The number up to which every reader has read; -1 without readers.
int64_t GenerationLog::ReadByAll() const {
  const auto slowest = std::min_element(
      readers_.begin(), readers_.end(),
      [](const Reader* a, const Reader* b) { return a->position_ < b->position_; });
  return slowest == readers_.end() ? -1 : (*slowest)->position_;
}

int GenerationLog::CountFramesAfter(int64_t sequence) const {
  const auto first = std::upper_bound(events_.begin(), events_.end(), sequence, IsAfter);
  return static_cast<int>(std::count_if(first, events_.end(), IsFrame));
}

GenerationLog::Progress GenerationLog::CurrentProgress() const {
  return {steps_done_, options_.steps_total, static_cast<int>(images_done_.size())};
}

}  // namespace denoise
