#include "server/telemetry/activity.h"

#include <algorithm>
#include <cmath>

#include "proto/conversion/time_proto.h"

namespace denoise {

namespace v1 = denoised::v1;
namespace {

v1::DeviceActivity::Turn TurnToProto(TurnReport::Kind kind) {
  switch (kind) {
    case TurnReport::Kind::kIdle:
      return v1::DeviceActivity::IDLE;
    case TurnReport::Kind::kEncode:
      return v1::DeviceActivity::ENCODE;
    case TurnReport::Kind::kEvaluate:
      return v1::DeviceActivity::EVALUATE;
    case TurnReport::Kind::kDecode:
      return v1::DeviceActivity::DECODE;
    case TurnReport::Kind::kMeasure:
      return v1::DeviceActivity::MEASURE;
    case TurnReport::Kind::kFailed:
      return v1::DeviceActivity::FAILED;
    case TurnReport::Kind::kTrain:
      break;
  }
  return v1::DeviceActivity::TRAIN;
}

void Describe(const ImageInTurn& image, v1::ActiveImage& proto) {
  proto.set_generation(image.request->name);
  proto.set_image_index(image.index);
  proto.set_model(image.request->model);
  proto.set_height(static_cast<int32_t>(image.height));
  proto.set_width(static_cast<int32_t>(image.width));
  proto.set_rows(image.rows);
  proto.set_evaluation(image.evaluations_done);
  proto.set_evaluations(static_cast<int32_t>(image.request->plan->evaluations.size()));
  proto.set_step(image.steps_done);
  proto.set_steps(image.request->plan->NumSteps());
  if (image.timestep) proto.set_timestep(*image.timestep);
}

// Counts the time of the device's turn, which ends now.
void EndTurn(v1::DeviceActivity& device, absl::Time now) {
  const absl::Duration elapsed = now - ToTime(device.turn_time());
  const auto time = ToProto(std::max(elapsed, absl::ZeroDuration()));  // the clock may be set back
  switch (device.turn()) {
    case v1::DeviceActivity::ENCODE:
      *device.mutable_encoding() += time;
      break;
    case v1::DeviceActivity::EVALUATE:
      *device.mutable_evaluating() += time;
      break;
    case v1::DeviceActivity::DECODE:
      *device.mutable_decoding() += time;
      break;
    case v1::DeviceActivity::TRAIN:
      *device.mutable_training() += time;
      break;
    default:
      break;
  }
}

// The smallest of `sorted`, which is not empty, that at least this share of them does not exceed.
google::protobuf::Duration Quantile(const std::vector<absl::Duration>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return ToProto(sorted[rank - 1]);
}

}  // namespace

void RecentDurations::Add(absl::Duration duration, absl::Time now) {
  durations_.emplace_back(now, duration);
  if (durations_.size() > kMax) durations_.pop_front();
  changed_ = true;
}

bool RecentDurations::ForgetOld(absl::Time now) {
  bool forgot = false;
  for (; next_expiry() <= now; forgot = true) durations_.pop_front();
  changed_ = changed_ || forgot;
  return forgot;
}

absl::Time RecentDurations::next_expiry() const {
  return durations_.empty() ? absl::InfiniteFuture() : durations_.front().first + kKept;
}

const v1::Latency& RecentDurations::quantiles() {
  if (!std::exchange(changed_, false)) return quantiles_;
  quantiles_.Clear();
  if (durations_.empty()) return quantiles_;
  std::vector<absl::Duration> sorted;
  for (const auto& [time, duration] : durations_) sorted.push_back(duration);
  std::sort(sorted.begin(), sorted.end());
  quantiles_.set_samples(static_cast<int32_t>(sorted.size()));
  *quantiles_.mutable_p50() = Quantile(sorted, 0.50);
  *quantiles_.mutable_p95() = Quantile(sorted, 0.95);
  *quantiles_.mutable_p99() = Quantile(sorted, 0.99);
  return quantiles_;
}

Activity::Activity(const std::vector<std::string>& devices, const Clock& clock) : clock_(clock) {
  for (const std::string& name : devices) {
    device_indices_[name] = state_.devices_size();
    v1::DeviceActivity& device = *state_.add_devices();
    device.set_device(name);
    device.set_turn(v1::DeviceActivity::IDLE);
    *device.mutable_turn_time() = ToProto(clock.Now());
  }
  waker_ = std::thread([this] { WakeLoop(); });
}

Activity::~Activity() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  waker_.join();
}

// --- What happens

void Activity::TurnBegan(const std::string& device, const TurnReport& turn) {
  const MutexLock lock(mutex_);
  v1::DeviceActivity& proto = Device(device);
  EndTurn(proto, turn.began);
  proto.set_turn(TurnToProto(turn.kind));
  *proto.mutable_turn_time() = ToProto(turn.began);
  proto.set_active_rows(turn.active_rows);
  proto.set_training_job(turn.task);
  proto.clear_images();
  for (const ImageInTurn& image : turn.images) Describe(image, *proto.add_images());
  Changed();
}

void Activity::Evaluated(const std::string& device, int rows) {
  const MutexLock lock(mutex_);
  v1::DeviceActivity& proto = Device(device);
  proto.set_evaluations(proto.evaluations() + 1);
  proto.set_rows(proto.rows() + rows);
  Changed();
}

void Activity::QueueChanged() {
  const MutexLock lock(mutex_);
  Changed();
}

void Activity::ImageGenerated() {
  const MutexLock lock(mutex_);
  state_.set_images(state_.images() + 1);
  Changed();
}

void Activity::QueueWaited(absl::Duration wait) {
  const MutexLock lock(mutex_);
  queue_waits_.Add(wait, clock_.Now());
  Changed();
}

void Activity::FirstFrameSent(absl::Duration since_request) {
  const MutexLock lock(mutex_);
  first_frames_.Add(since_request, clock_.Now());
  Changed();
}

void Activity::RequestSucceeded(absl::Duration elapsed) {
  const MutexLock lock(mutex_);
  requests_.Add(elapsed, clock_.Now());
  Changed();
}

v1::DeviceActivity& Activity::Device(const std::string& name) {
  return *state_.mutable_devices(device_indices_.at(name));
}

void Activity::Changed() {
  ++version_;
  if (!watchers_.empty()) changed_.NotifyAll();
}

// --- Those who watch

std::unique_ptr<Activity::Watcher> Activity::Watch(absl::Duration interval,
                                                   std::function<void()> wake) {
  std::unique_ptr<Watcher> watcher(new Watcher(this, interval, std::move(wake)));
  const MutexLock lock(mutex_);
  watchers_.insert(watcher.get());
  return watcher;
}

Activity::Watcher::Watcher(Activity* activity, absl::Duration interval, std::function<void()> wake)
    : activity_(activity), interval_(interval), wake_(std::move(wake)) {}

Activity::Watcher::~Watcher() {
  const MutexLock lock(activity_->mutex_);
  activity_->watchers_.erase(this);
}

// Where the clock has been set back, a watcher may read at once.
bool Activity::Watcher::MayRead(absl::Time now) const {
  return now < read_ || now >= read_ + interval_;
}

std::shared_ptr<const v1::ActivitySnapshot> Activity::Watcher::Next(const Complete& complete) {
  const absl::Time now = activity_->clock_.Now();
  v1::ActivitySnapshot snapshot;
  {
    const MutexLock lock(activity_->mutex_);
    activity_->ForgetOldDurations(now);
    if (seen_ == activity_->version_ || !MayRead(now)) {
      waits_ = true;
      activity_->changed_.NotifyAll();
      return nullptr;
    }
    seen_ = activity_->version_;
    read_ = now;
    if (activity_->latest_version_ == seen_) return activity_->latest_;
    snapshot = activity_->Snapshot(now);
  }
  complete(snapshot);
  auto shared = std::make_shared<const v1::ActivitySnapshot>(std::move(snapshot));
  const MutexLock lock(activity_->mutex_);
  if (activity_->latest_version_ < seen_) {
    activity_->latest_ = shared;
    activity_->latest_version_ = seen_;
  }
  return shared;
}

v1::ActivitySnapshot Activity::Snapshot(absl::Time now) {
  v1::ActivitySnapshot snapshot = state_;
  *snapshot.mutable_time() = ToProto(now);
  *snapshot.mutable_queue_wait() = queue_waits_.quantiles();
  *snapshot.mutable_first_frame() = first_frames_.quantiles();
  *snapshot.mutable_request() = requests_.quantiles();
  return snapshot;
}

void Activity::ForgetOldDurations(absl::Time now) {
  for (RecentDurations* const durations : {&queue_waits_, &first_frames_, &requests_}) {
    if (durations->ForgetOld(now)) ++version_;
  }
}

void Activity::WakeAll() {
  const MutexLock lock(mutex_);
  for (const Watcher* const watcher : watchers_) watcher->wake_();
}

void Activity::WakeLoop() {
  const MutexLock lock(mutex_);
  while (!stopping_) {
    const absl::Time next = WakeDue(clock_.Now());
    clock_.WaitUntil(changed_, mutex_, next);
  }
}

// Wakes those who wait and have something to read. Returns when it is the next one's time.
absl::Time Activity::WakeDue(absl::Time now) {
  ForgetOldDurations(now);
  absl::Time next = absl::InfiniteFuture();
  for (Watcher* const watcher : watchers_) {
    if (!watcher->waits_) continue;
    if (watcher->seen_ == version_) {
      for (const RecentDurations* const durations : {&queue_waits_, &first_frames_, &requests_}) {
        next = std::min(next, durations->next_expiry());
      }
    } else if (!watcher->MayRead(now)) {
      next = std::min(next, watcher->read_ + watcher->interval_);
    } else {
      watcher->waits_ = false;
      watcher->wake_();
    }
  }
  return next;
}

}  // namespace denoise
