#include "tests/e2e/raw_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <future>
#include <vector>

#include "absl/time/clock.h"
#include "core/base/thread_order.h"
#include "tests/e2e/e2e_support.h"

namespace denoise {

RawResponse CallWithBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                          const std::string& bytes) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> status;
  BeforeHandOver(&status);
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&status](grpc::Status s) {
                   AfterHandOver(&status);
                   status.set_value(std::move(s));
                 });
  RawResponse result{status.get_future().get(), ""};
  std::vector<grpc::Slice> slices;
  if (result.status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& s : slices) {
      result.bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
    }
  }
  return result;
}

}  // namespace denoise
