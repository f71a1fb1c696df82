#include "server/http/grpc_call.h"

#include <grpcpp/support/slice.h>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "absl/time/time.h"
#include "core/base/thread_order.h"

namespace denoise {
namespace {

namespace asio = boost::asio;

}  // namespace

std::shared_ptr<GrpcCall> GrpcCall::Start(grpc::GenericStub& stub, Options options, LiveCalls& live,
                                          ObjectCount* count) {
  auto* const call = new GrpcCall(std::move(options), live, count);
  live.Add();
  stub.PrepareBidiStreamingCall(&call->context_, call->method_, grpc::StubOptions(), call);
  call->AddHold();  // more is started from outside gRPC's callbacks
  // A unary method's message and status come together, and the in-process transport drops a message
  // that comes with the status unless somebody waits for it already.
  BeforeHandOver(call);
  call->StartRead(&call->incoming_);
  call->StartCall();
  return {call, [](GrpcCall* held) { held->Leave(); }};
}

GrpcCall::GrpcCall(Options options, LiveCalls& live, ObjectCount* count)
    : method_(std::move(options.method)), live_(live), counted_(count) {
  for (const auto& [name, value] : options.metadata) context_.AddMetadata(name, value);
  if (options.deadline != absl::InfiniteFuture()) {
    context_.set_deadline(absl::ToChronoTime(options.deadline));
  }
}

template <class Starter>
Task<bool> GrpcCall::Wait(Continue GrpcCall::*slot, Starter start) {
  const auto initiate = [this, slot, &start](auto handler) {
    // A std::function must be copyable, and the handler is not.
    const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    {
      const MutexLock lock(mutex_);
      this->*slot = [shared](bool ok) {
        asio::post(asio::get_associated_executor(*shared), [shared, ok] { (*shared)(ok); });
      };
    }
    start();
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(bool)>(
      initiate, asio::use_awaitable);
}

void GrpcCall::End(Continue GrpcCall::*slot, bool ok) {
  Continue go_on;
  {
    const MutexLock lock(mutex_);
    go_on = std::exchange(this->*slot, nullptr);
  }
  if (go_on) go_on(ok);
}

Task<bool> GrpcCall::Write(std::string_view message) {
  const grpc::Slice slice(message.data(), message.size());
  outgoing_ = grpc::ByteBuffer(&slice, 1);
  co_return co_await Wait(&GrpcCall::write_, [this] { StartWrite(&outgoing_); });
}

Task<void> GrpcCall::WritesDone() {
  co_await Wait(&GrpcCall::write_, [this] { StartWritesDone(); });
}

Task<std::optional<std::string>> GrpcCall::Read() {
  const bool is_first = !std::exchange(has_read_, true);
  const bool ok = co_await Wait(&GrpcCall::read_, [this, is_first] {
    if (!is_first) return StartRead(&incoming_);
    std::optional<bool> read;
    {
      const MutexLock lock(mutex_);
      read = first_read_;
    }
    if (read) End(&GrpcCall::read_, *read);
  });
  grpc::Slice slice;
  if (!ok || !incoming_.DumpToSingleSlice(&slice).ok()) co_return std::nullopt;
  incoming_.Clear();
  co_return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

void GrpcCall::OnReadDone(bool ok) {
  Continue go_on;
  {
    const MutexLock lock(mutex_);
    go_on = std::exchange(read_, nullptr);
    if (!go_on) first_read_ = ok;
  }
  if (go_on) go_on(ok);
}

Task<grpc::Status> GrpcCall::Finish() {
  co_await Wait(&GrpcCall::done_, [this] {
    Release();
    bool is_over = false;
    {
      const MutexLock lock(mutex_);
      is_over = status_.has_value();
    }
    if (is_over) End(&GrpcCall::done_, true);
  });
  const MutexLock lock(mutex_);
  co_return *status_;
}

// The holder may delete the call as soon as it is known to be over.
void GrpcCall::OnDone(const grpc::Status& status) {
  AfterHandOver(this);
  LiveCalls& live = live_;
  Continue go_on;
  bool is_held = false;
  {
    const MutexLock lock(mutex_);
    status_ = status;
    is_held = held_;
    go_on = std::exchange(done_, nullptr);
  }
  if (go_on) go_on(true);
  if (!is_held) delete this;
  live.Remove();
}

void GrpcCall::Release() {
  if (!std::exchange(released_, true)) RemoveHold();
}

// OnDone may delete the call as soon as nobody holds it and gRPC may end it.
void GrpcCall::Leave() {
  Cancel();
  const bool was_released = std::exchange(released_, true);
  bool is_over = false;
  {
    const MutexLock lock(mutex_);
    held_ = false;
    is_over = status_.has_value();
  }
  if (is_over) {
    delete this;
  } else if (!was_released) {
    RemoveHold();
  }
}

CallMetadata GrpcCall::trailing_metadata() const {
  CallMetadata metadata;
  for (const auto& [name, value] : context_.GetServerTrailingMetadata()) {
    metadata.emplace_back(std::string(name.data(), name.size()),
                          std::string(value.data(), value.size()));
  }
  return metadata;
}

}  // namespace denoise
