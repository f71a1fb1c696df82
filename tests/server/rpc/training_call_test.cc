// WatchTrainingJob over a real connection, with a real job.
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "denoised/v1/training.grpc.pb.h"
#include "server/grpc_listener.h"
#include "server/rpc/training_service.h"
#include "tests/server/jobs/training_jobs_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

class TrainingCallTest : public TrainingJobsTest {
 protected:
  using Reader = std::unique_ptr<grpc::ClientReader<v1::TrainingEvent>>;

  ~TrainingCallTest() override { listener_.server->Shutdown(); }

  static ServerFlags Flags() {
    ServerFlags flags;
    flags.listen = "127.0.0.1:0";
    return flags;
  }

  Reader Watch(grpc::ClientContext& context, const std::string& job) {
    return stub_->WatchTrainingJob(&context, Named<v1::WatchTrainingJobRequest>(job));
  }

  std::atomic<bool> short_of_memory_ = false;
  LiveCalls live_calls_{&clock_, [this] {
                          return short_of_memory_ ? absl::UnavailableError("short of memory")
                                                  : absl::OkStatus();
                        }};
  WorkPool pool_{2};
  CallWatch call_watch_{absl::Seconds(1), &clock_};
  TrainingService service_{[this] { return &jobs(); },
                           {.pool = &pool_,
                            .clock = &clock_,
                            .live_calls = &live_calls_,
                            .call_watch = &call_watch_,
                            .write_time_max = absl::Seconds(60)},
                           &pool_};
  MemoryGuard memory_{ProcessMemory(/*flag_bytes=*/0)};
  GrpcListener listener_ =
      *Listen(Flags(), {{v1::Training::service_full_name(), &service_}}, &memory_, nullptr);
  const std::unique_ptr<v1::Training::Stub> stub_ = v1::Training::NewStub(
      grpc::CreateChannel(listener_.address, grpc::InsecureChannelCredentials()));
};

TEST_F(TrainingCallTest, ShortageOfMemoryRefusesANewWatcherAndKeepsTheOthers) {
  const std::string job = Create(EndlessRequest());
  grpc::ClientContext context;
  const Reader reader = Watch(context, job);
  v1::TrainingEvent event;
  ASSERT_TRUE(reader->Read(&event));
  short_of_memory_ = true;
  grpc::ClientContext late_context;
  const Reader late = Watch(late_context, job);
  v1::TrainingEvent none;
  EXPECT_FALSE(late->Read(&none));
  EXPECT_EQ(late->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);

  EXPECT_TRUE(Cancel(job).ok());
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(event.state_change().state(), v1::TrainingJob::CANCELLED);
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace denoise
