// How a call ends whatever happens. Exceptions stop here: a call whose code has thrown would
// otherwise stay open for ever, because nobody finishes it.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <exception>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/rpc/call_record.h"

namespace denoise {

// Returns what `work()` returns, a Status or a StatusOr. Where it throws, because a library does or
// memory has run out, returns INTERNAL with `what` has failed, for the log.
template <class Work>
std::invoke_result_t<Work> CatchAsInternal(absl::string_view what, Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(what, ": ", error.what()));
  }
}

// What to finish a call with. `end` tells the log and the metrics that the call ends, and returns
// its status. Never throws.
grpc::Status LastStatus(const CallRecord& record, grpc::ServerContextBase& context,
                        absl::FunctionRef<absl::Status()> end) noexcept;

}  // namespace denoise
