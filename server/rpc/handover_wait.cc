#include "server/rpc/handover_wait.h"

#include <exception>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

namespace denoise {

void HandoverWait::Wake() {
  if (scheduled_.exchange(true)) return;
  pool_->Schedule([self = shared_from_this()] { self->Look(); });
}

void HandoverWait::Begin(std::unique_ptr<Generations::Reader> reader) {
  {
    const MutexLock lock(mutex_);
    reader_ = std::move(reader);
  }
  Wake();  // the log may have said everything by now
}

bool HandoverWait::GiveUp() {
  std::unique_ptr<Generations::Reader> reader;  // leaves without the lock
  const MutexLock lock(mutex_);
  reader = std::move(reader_);
  return reader != nullptr;
}

void HandoverWait::Look() {
  scheduled_ = false;
  if (auto outcome = Read()) on_over_(*std::move(outcome));
}

// Nullopt while the generation has not ended, and once the wait is over.
std::optional<absl::StatusOr<HandoverWait::Outcome>> HandoverWait::Read() {
  const MutexLock lock(mutex_);
  if (!reader_) return std::nullopt;
  try {
    while (std::optional<GenerationLog::Event> event = reader_->Next()) {
      if (std::holds_alternative<GenerationLog::Handover>(event->what)) handover_ = event;
    }
    if (!reader_->over()) return std::nullopt;
    return Outcome{std::move(reader_), std::move(handover_)};
  } catch (const std::exception& error) {  // a library's, or memory ran out
    reader_.reset();
    return absl::InternalError(absl::StrCat("cannot read the generation: ", error.what()));
  }
}

}  // namespace denoise
