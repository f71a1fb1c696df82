// The images API of OpenAI, for its published clients: POST /v1/images/generations and
// /v1/images/edits, GET /v1/models and /v1/models/{model}.
//
// Like the bridge of RPCs it has no rules of its own: it turns a request into a call of Generate,
// GetModel or ListModels through the server's in-process channel, and the events back into what the
// API answers (server/http/openai). A client that leaves cancels its call; one that reads slowly
// holds back its own stream alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "server/http/caller.h"
#include "server/http/grpc_calls.h"
#include "server/http/http_exchange.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Thread-safe.
class OpenAiBridge {
 public:
  struct Options {
    GrpcCalls* calls;
    int64_t message_bytes_max;   // of a body, and of the request that it becomes
    int64_t picture_pixels_max;  // of a picture to edit
    WorkPool* pool;              // decodes pictures, and encodes images and JSON
    // Whether the process has room for another call, before its body is read. Any thread calls it.
    std::function<absl::Status()> admit;
    const AccessControl* access;  // checks the caller before that
  };
  explicit OpenAiBridge(Options options) : options_(std::move(options)) {}

  // Whether a path belongs to the API, which has errors of its own for those that it does not know.
  static bool Has(std::string_view path) { return path.starts_with("/v1/"); }
  Task<void> Serve(HttpExchange& exchange) const;

 private:
  class ApiCall;
  class ModelsCall;
  class ImagesCall;

  Task<void> Images(HttpExchange& exchange, const CallMetadata& caller, bool edits) const;

  const Options options_;
};

}  // namespace denoise
