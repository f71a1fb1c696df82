#include "client/bench/call_pool.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/connection.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// denoised takes 128 on one connection (--max-concurrent-streams); others would wait unseen.
constexpr int kMostCallsPerConnection = 100;

ClientOptions ForBench(ClientOptions options) {
  options.max_attempts = 1;
  options.own_connection = true;
  return options;
}

}  // namespace

struct CallPool::Line {
  explicit Line(const ClientOptions& options)
      : connection(options), stub(v1::ImageGeneration::NewStub(connection.channel())) {}

  const Connection connection;
  const std::unique_ptr<v1::ImageGeneration::Stub> stub;
  int calls = 0;
};

CallPool::CallPool(Options options, Cancellation& cancellation)
    : options_{ForBench(std::move(options.client)), std::move(options.tenant_header)},
      cancellation_(cancellation) {
  cancellation_.SetListener([this] { CancelAll(); });
}

CallPool::~CallPool() {
  cancellation_.SetListener(nullptr);
  CancelAll();
  WaitUntilAtMost(0);
}

void CallPool::Start(const LoadRequest& load, size_t index, absl::Time arrival) {
  CallOutcome outcome{.request = index, .arrival = arrival, .sent = absl::Now()};
  std::shared_ptr<GenerateCall> call;
  Line* line;
  int64_t number;
  bool cancelled;
  {
    const MutexLock lock(mutex_);
    line = &LineWithRoom();
    call = std::make_shared<GenerateCall>(load, line->connection.peer(), std::move(outcome));
    number = next_number_++;
    flights_[number] = {call, line};
    ++line->calls;
    cancelled = cancelled_;
  }
  SetUp(load, arrival, call->context());
  call->Start(*line->stub, [this, number](CallOutcome result) { End(number, std::move(result)); });
  if (cancelled) call->Cancel();
}

CallPool::Line& CallPool::LineWithRoom() {
  for (const std::unique_ptr<Line>& line : lines_) {
    if (line->calls < kMostCallsPerConnection) return *line;
  }
  return *lines_.emplace_back(std::make_unique<Line>(options_.client));
}

void CallPool::SetUp(const LoadRequest& load, absl::Time arrival,
                     grpc::ClientContext& context) const {
  Connection::Prepare(options_.client, context, arrival + load.deadline - absl::Now());
  if (!load.tenant.empty()) context.AddMetadata(options_.tenant_header, load.tenant);
}

// On one of gRPC's threads. The call counts as in flight until it has let go of its channel: gRPC
// must not destroy a channel on its own thread, which the last channel's end waits for.
void CallPool::End(int64_t number, CallOutcome outcome) {
  std::shared_ptr<GenerateCall> ended;
  {
    const MutexLock lock(mutex_);
    ended = std::move(flights_.at(number).call);
  }
  ended = nullptr;
  const MutexLock lock(mutex_);
  const auto flight = flights_.find(number);
  --flight->second.line->calls;
  flights_.erase(flight);
  outcome.cut_off = cancelled_ && absl::IsCancelled(outcome.status);
  ended_.push_back(std::move(outcome));
  changed_.NotifyAll();
}

void CallPool::CancelAll() {
  std::vector<std::shared_ptr<GenerateCall>> calls;
  {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    for (const auto& [number, flight] : flights_) {
      if (flight.call) calls.push_back(flight.call);
    }
  }
  for (const std::shared_ptr<GenerateCall>& call : calls) call->Cancel();
}

int CallPool::in_flight() const {
  const MutexLock lock(mutex_);
  return static_cast<int>(flights_.size());
}

bool CallPool::WaitUntilAtMost(int most, absl::Time time) const {
  const MutexLock lock(mutex_);
  while (static_cast<int>(flights_.size()) > most) {
    if (changed_.WaitUntil(mutex_, time)) return static_cast<int>(flights_.size()) <= most;
  }
  return true;
}

std::vector<CallOutcome> CallPool::Take() {
  const MutexLock lock(mutex_);
  return std::exchange(ended_, {});
}

}  // namespace denoise
