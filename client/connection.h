// One gRPC channel, and how calls are made on it. For the clients and client/bench.
#pragma once

#include <google/protobuf/repeated_field.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/server_stream_call.h"

namespace denoise {

// Immutable, thread-safe. Connects on the first call, and again whenever the connection breaks.
class Connection {
 public:
  explicit Connection(ClientOptions options);

  const ClientOptions& options() const { return options_; }
  // What errors call the other side: the address, and the proxy on the way if there is one.
  const std::string& peer() const { return peer_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Calls `method` of `stub`, by default within the deadline for unary calls.
  template <typename Response, typename Stub, typename Method, typename Request>
  absl::StatusOr<Response> Call(Stub& stub, Method method, const Request& request) const {
    return Call<Response>(stub, method, request, options_.unary_deadline);
  }
  template <typename Response, typename Stub, typename Method, typename Request>
  absl::StatusOr<Response> Call(Stub& stub, Method method, const Request& request,
                                absl::Duration deadline) const {
    grpc::ClientContext context;
    Prepare(context, deadline);
    Response response;
    const absl::Status status = StatusOf((stub.*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

  // Starts the server-streaming `method` of `stub`. `may_be_empty`: without an event, OK is no
  // error.
  template <typename Event, typename Stub, typename Method, typename Request>
  ServerStream<Event> Stream(Stub& stub, Method method, const Request& request,
                             absl::Duration deadline, bool may_be_empty = false) const {
    return ServerStream<Event>(Start<Event>(stub, method, request, deadline, may_be_empty));
  }
  // The call of such a stream.
  template <typename Event, typename Stub, typename Method, typename Request>
  std::unique_ptr<typename ServerStream<Event>::Call> Start(Stub& stub, Method method,
                                                            const Request& request,
                                                            absl::Duration deadline,
                                                            bool may_be_empty = false) const {
    auto call = std::make_unique<typename ServerStream<Event>::Call>();
    call->context = std::make_unique<grpc::ClientContext>();
    Prepare(*call->context, deadline);
    call->address = peer_;
    call->answered = options_.answered;
    call->may_be_empty = may_be_empty;
    call->reader = (stub.*method)(call->context.get(), request);
    return call;
  }

  // The status of a call that has ended.
  absl::Status StatusOf(const grpc::Status& status) const {
    return StatusOfCall(status, peer_, options_.answered.get());
  }

  // Every resource of a listing, page after page (AIP-158). `items` is the accessor of a page's.
  template <typename Item, typename Response, typename Stub, typename Method, typename Request>
  absl::StatusOr<std::vector<Item>> ListAll(
      Stub& stub, Method method, Request request,
      google::protobuf::RepeatedPtrField<Item>* (Response::*items)()) const {
    constexpr int kPageSize = 1000, kMostPages = 1000;
    std::vector<Item> all;
    request.set_page_size(kPageSize);
    for (int pages = 0; pages < kMostPages; ++pages) {
      absl::StatusOr<Response> page = Call<Response>(stub, method, request);
      if (!page.ok()) return page.status();
      for (Item& item : *((*page).*items)()) all.push_back(std::move(item));
      if (page->next_page_token().empty()) return all;
      request.set_page_token(page->next_page_token());
    }
    return absl::InternalError("the server's list does not end");
  }

  // What every call has: a deadline and the token.
  static void Prepare(const ClientOptions& options, grpc::ClientContext& context,
                      absl::Duration deadline);
  void Prepare(grpc::ClientContext& context, absl::Duration deadline) const {
    Prepare(options_, context, deadline);
  }

 private:
  const ClientOptions options_;
  const std::string peer_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace denoise
