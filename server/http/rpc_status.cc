#include "server/http/rpc_status.h"

#include "core/base/resource_id.h"
#include "google/rpc/error_details.pb.h"
#include "server/rpc/status_mapping.h"

namespace denoise {

google::rpc::Status RpcStatusOf(const grpc::Status& status) {
  google::rpc::Status rpc;
  // Details that gRPC itself ends a call with are none of ours.
  if (!rpc.ParseFromString(status.error_details())) rpc.Clear();
  rpc.set_code(status.error_code());
  rpc.set_message(status.error_message());
  return rpc;
}

google::rpc::Status RpcStatusOf(const absl::Status& status) {
  if (absl::IsUnimplemented(status)) {  // elsewhere, that would be a fault inside the server
    return RpcStatusOf(
        grpc::Status(grpc::StatusCode::UNIMPLEMENTED, std::string(status.message())));
  }
  return RpcStatusOf(ToWireStatus(status, NewRandomId()).status);
}

std::string RetryAfter(const google::rpc::Status& status) {
  for (const google::protobuf::Any& detail : status.details()) {
    google::rpc::RetryInfo info;
    if (!detail.UnpackTo(&info)) continue;
    const int64_t seconds = info.retry_delay().seconds() + (info.retry_delay().nanos() > 0 ? 1 : 0);
    return std::to_string(seconds);
  }
  return "";
}

}  // namespace denoise
