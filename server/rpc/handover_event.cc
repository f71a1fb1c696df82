#include "server/rpc/handover_event.h"

#include "proto/conversion/time_proto.h"
#include "server/migration/handover_state.h"
#include "server/migration/handover_token.h"

namespace denoise {

namespace v1 = denoised::v1;

v1::Handover SealEvent(const GenerationLog::Handover& handover, int64_t sequence, absl::Time time,
                       const Generations::Reader& reader,
                       const GenerationEnvironment& environment) {
  const HandoverState state =
      MakeHandoverState(reader.request(), reader.accepted(), *reader.plan(), handover.done,
                        /*next_sequence=*/sequence + 1, reader.origin_trace_id());
  const absl::Time expires =
      time + (handover.paused ? environment.paused_lifetime : kHandoverLifetime);
  v1::Handover event;
  event.set_token(SealHandover(state, reader.tenant(), expires, environment.handover_keys));
  event.set_paused(handover.paused);
  *event.mutable_expire_time() = ToProto(expires);
  return event;
}

}  // namespace denoise
