#include "client/cli/commands/sweep_runner.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "client/cli/display/received_image.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

// Reads to the end: a stream that fails late has failed.
absl::StatusOr<Image> ReceivePicture(GenerateStream& stream) {
  std::optional<Image> picture;
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<denoised::v1::GenerateEvent> event, stream.Next());
    if (!event.has_value()) break;
    if (!event->has_image()) continue;
    ASSIGN_OR_RETURN(ReceivedImage received, ReceiveImage(event->image().image()));
    picture = std::move(received.pixels);
  }
  if (!picture.has_value()) return absl::InternalError("the server sent no image");
  return *std::move(picture);
}

}  // namespace

class SweepRunner::Entry {
 public:
  Entry(SweepRunner& runner, GenerateStream& stream) : runner_(runner), stream_(stream) {
    const MutexLock lock(runner_.mutex_);
    runner_.streams_.insert(&stream_);
    if (!runner_.status_.ok()) stream_.Cancel();
  }
  ~Entry() {
    const MutexLock lock(runner_.mutex_);
    runner_.streams_.erase(&stream_);
  }

 private:
  SweepRunner& runner_;
  GenerateStream& stream_;
};

SweepRunner::SweepRunner(Client& client, std::vector<SweepCell> cells,
                         std::function<void(size_t)> on_done)
    : client_(client),
      cells_(std::move(cells)),
      on_done_(std::move(on_done)),
      pictures_(cells_.size()) {}

absl::StatusOr<std::vector<Image>> SweepRunner::Run(int parallel) {
  std::vector<std::thread> threads;
  const size_t count = std::min(static_cast<size_t>(parallel), cells_.size());
  for (size_t i = 0; i < count; ++i) threads.emplace_back([this] { Work(); });
  for (std::thread& thread : threads) thread.join();
  const MutexLock lock(mutex_);
  RETURN_IF_ERROR(status_);
  return std::move(pictures_);
}

void SweepRunner::Cancel() {
  const MutexLock lock(mutex_);
  Stop(absl::CancelledError("interrupted"), nullptr);
}

void SweepRunner::Work() {
  while (const std::optional<size_t> index = Take()) Finish(*index, MakePicture(cells_[*index]));
}

std::optional<size_t> SweepRunner::Take() {
  const MutexLock lock(mutex_);
  if (!status_.ok() || next_ == cells_.size()) return std::nullopt;
  return next_++;
}

absl::StatusOr<Image> SweepRunner::MakePicture(const SweepCell& cell) {
  GenerateStream stream = client_.Generate(cell.request);
  const Entry entry(*this, stream);
  return ReceivePicture(stream);
}

void SweepRunner::Finish(size_t index, absl::StatusOr<Image> picture) {
  const MutexLock lock(mutex_);
  if (!picture.ok()) return Stop(picture.status(), &cells_[index]);
  pictures_[index] = *std::move(picture);
  on_done_(++done_);
}

void SweepRunner::Stop(const absl::Status& status, const SweepCell* cell) {
  if (!status_.ok()) return;  // cancelled streams fail as well
  status_ = status;
  failed_cell_ = cell;
  for (GenerateStream* stream : streams_) stream->Cancel();
}

}  // namespace denoise
