// What every call has: a record, a deadline, and the parts of the server that look after it.
#pragma once

#include <grpcpp/server_context.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/object_count.h"
#include "server/identity/access_control.h"
#include "server/rpc/call_record.h"
#include "server/rpc/call_watch.h"
#include "server/rpc/live_calls.h"
#include "server/rpc/work_pool.h"

namespace denoise {

// Where the state of calls is counted. Null: nowhere.
struct CallCounts {
  ObjectCount* streams = nullptr;  // from the server
  ObjectCount* uploads = nullptr;
  ObjectCount* unary = nullptr;
};

// What calls need; outlives all of them.
struct CallEnvironment {
  WorkPool* pool;
  const Clock* clock;
  LiveCalls* live_calls;
  CallWatch* call_watch;
  absl::Duration write_time_max;          // for the other side to take or send one message
  const AccessControl* access = nullptr;  // null: everybody may do everything
  CallCounts counts = {};
};

struct Call {
  std::shared_ptr<CallRecord> record;  // never null
  absl::Time arrival;
  Identity caller;
  absl::Time deadline;         // InfiniteFuture where the caller has set none
  std::function<void()> wake;  // of a stream: see EventSource. Any thread may call it, at any time
};

// InfiniteFuture where the caller has set none.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context);

// `status`, or DEADLINE_EXCEEDED where it is CANCELLED because of the deadline: gRPC cancels a call
// whose deadline has passed.
absl::Status WithDeadline(const absl::Status& status, absl::Time deadline, absl::Time now);

// Says in the log why a call was refused. The caller has its id.
void LogRefusal(const CallRecord& record, const absl::Status& status);

// What a call ends with whose caller has left.
absl::Status CallerGone();

}  // namespace denoise
