// Calls that are answered on a pool, over a real connection.
#include "server/rpc/unary_answer.h"

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>

#include "denoised/v1/datasets.grpc.pb.h"
#include "server/grpc_listener.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Answers once the test lets it.
class SlowService final : public v1::Datasets::CallbackService {
 public:
  explicit SlowService(const CallEnvironment& environment) : environment_(environment) {}

  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const v1::GetDatasetRequest*,
                                       v1::Dataset* response) override {
    return AnswerOnPool(environment_, context, response,
                        [this](const Identity&) -> absl::StatusOr<v1::Dataset> {
                          began.set_value();
                          may_end.get_future().wait();
                          return v1::Dataset();
                        });
  }

  std::promise<void> began, may_end;

 private:
  const CallEnvironment environment_;
};

TEST(UnaryAnswer, AShutdownWaitsForACallUntilItIsAnswered) {
  LiveCalls live_calls(&Clock::Real());
  WorkPool pool(1);
  SlowService service({.pool = &pool,
                       .clock = &Clock::Real(),
                       .live_calls = &live_calls,
                       .call_watch = nullptr,
                       .write_time_max = absl::Seconds(1)});
  ServerFlags flags;
  flags.listen = "127.0.0.1:0";
  MemoryGuard memory{ProcessMemory(/*flag_bytes=*/0)};
  const GrpcListener listener =
      *Listen(flags, {{v1::Datasets::service_full_name(), &service}}, &memory, nullptr);
  const auto stub = v1::Datasets::NewStub(
      grpc::CreateChannel(listener.address, grpc::InsecureChannelCredentials()));
  auto call = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::Dataset response;
    return stub->GetDataset(&context, {}, &response).ok();
  });
  service.began.get_future().wait();
  live_calls.StartDraining();

  auto none =
      std::async(std::launch::async, [&] { live_calls.WaitUntilNone(absl::InfiniteFuture()); });
  EXPECT_EQ(none.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  service.may_end.set_value();

  EXPECT_EQ(none.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(call.get());
  listener.server->Shutdown();
}

}  // namespace
}  // namespace denoise
