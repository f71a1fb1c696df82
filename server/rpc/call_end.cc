#include "server/rpc/call_end.h"

#include "server/rpc/status_mapping.h"

namespace denoise {

grpc::Status LastStatus(const CallRecord& record, grpc::ServerContextBase& context,
                        absl::FunctionRef<absl::Status()> end) noexcept {
  try {
    const absl::Status status = CatchAsInternal("cannot end the call", end);
    return ToGrpcStatus(status, record.id(), context);
  } catch (const std::exception&) {  // no memory is left for the details
    return grpc::Status(grpc::StatusCode::INTERNAL, "");
  }
}

}  // namespace denoise
