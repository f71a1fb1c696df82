#include "client/bench/server_totals.h"

#include "client/proto_duration.h"
#include "client/status_from_grpc.h"
#include "denoised/v1/activity.grpc.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

ServerTotals Sum(const v1::ActivitySnapshot& snapshot) {
  ServerTotals totals;
  for (const v1::DeviceActivity& device : snapshot.devices()) {
    totals.evaluations += device.evaluations();
    totals.rows += device.rows();
    totals.evaluating += ToDuration(device.evaluating());
    totals.encoding += ToDuration(device.encoding());
    totals.decoding += ToDuration(device.decoding());
    totals.training += ToDuration(device.training());
  }
  return totals;
}

}  // namespace

absl::StatusOr<ServerTotals> ReadServerTotals(const Connection& connection) {
  const auto stub = v1::Activity::NewStub(connection.channel());
  grpc::ClientContext context;
  connection.Prepare(context, connection.options().unary_deadline);
  const auto reader = stub->WatchActivity(&context, v1::WatchActivityRequest());
  v1::ActivitySnapshot snapshot;
  const bool has_snapshot = reader->Read(&snapshot);
  context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (has_snapshot) return Sum(snapshot);
  if (status.ok()) return absl::InternalError("the server's activity ended without a snapshot");
  return StatusFromGrpc(status, connection.peer());
}

ServerTotals operator-(const ServerTotals& later, const ServerTotals& earlier) {
  return {later.evaluations - earlier.evaluations, later.rows - earlier.rows,
          later.evaluating - earlier.evaluating,   later.encoding - earlier.encoding,
          later.decoding - earlier.decoding,       later.training - earlier.training};
}

}  // namespace denoise
