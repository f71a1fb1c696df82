// Unary calls over a real connection.
#include "server/rpc/unary_answer.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>

#include "denoised/v1/datasets.grpc.pb.h"
#include "server/grpc_listener.h"
#include "tests/support/fake_clock.h"
#include "tests/support/object_tally.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Answers with what the test wants: GetDataset on the pool, ListDatasets at once.
class ScriptedService final : public v1::Datasets::CallbackService {
 public:
  explicit ScriptedService(const CallEnvironment& environment) : environment_(environment) {}

  grpc::ServerUnaryReactor* GetDataset(grpc::CallbackServerContext* context,
                                       const v1::GetDatasetRequest*,
                                       v1::Dataset* response) override {
    return AnswerOnPool(environment_, context, response, [this](const Identity&) { return get(); });
  }

  grpc::ServerUnaryReactor* ListDatasets(grpc::CallbackServerContext* context,
                                         const v1::ListDatasetsRequest*,
                                         v1::ListDatasetsResponse* response) override {
    return Answer(environment_, context, response, [this](const Identity&) { return list(); });
  }

  std::function<absl::StatusOr<v1::Dataset>()> get;
  std::function<absl::StatusOr<v1::ListDatasetsResponse>()> list;

 private:
  const CallEnvironment environment_;
};

class UnaryAnswerTest : public testing::Test {
 protected:
  static constexpr absl::Duration kWriteTimeMax = absl::Seconds(60);

  ~UnaryAnswerTest() override { listener_.server->Shutdown(); }

  static ServerFlags Flags() {
    ServerFlags flags;
    flags.listen = "127.0.0.1:0";
    return flags;
  }

  // Makes a call whose answer nobody reads, and returns what it ends with once time has passed.
  template <class Call, class Response>
  grpc::Status CallWithoutReading(Call prepare) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = prepare(&context, &queue);
    const auto await = [&queue] {
      void* tag;
      bool ok;
      EXPECT_TRUE(queue.Next(&tag, &ok));
    };
    call->StartCall();
    call->ReadInitialMetadata(nullptr);  // which comes with the answer
    await();
    auto none =
        std::async(std::launch::async, [&] { live_calls_.WaitUntilNone(absl::InfiniteFuture()); });
    clock_.AdvanceUntilReady(none, kWriteTimeMax / 100);
    Response response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    await();
    return status;
  }

  FakeClock clock_;
  LiveCalls live_calls_{&clock_};
  ObjectTally calls_;
  WorkPool pool_{1};
  CallWatch call_watch_{kWriteTimeMax / 10, &clock_};
  ScriptedService service_{{.pool = &pool_,
                            .clock = &clock_,
                            .live_calls = &live_calls_,
                            .call_watch = &call_watch_,
                            .write_time_max = kWriteTimeMax,
                            .counts = {.unary = &calls_}}};
  MemoryGuard memory_{ProcessMemory(/*flag_bytes=*/0)};
  GrpcListener listener_ =
      *Listen(Flags(), {{v1::Datasets::service_full_name(), &service_}}, &memory_, nullptr);
  const std::unique_ptr<v1::Datasets::Stub> stub_ = [this] {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // windows that do not grow
    return v1::Datasets::NewStub(grpc::CreateCustomChannel(
        listener_.address, grpc::InsecureChannelCredentials(), arguments));
  }();
};

TEST_F(UnaryAnswerTest, AShutdownWaitsForACallUntilItIsAnswered) {
  std::promise<void> began, may_end;
  service_.get = [&]() -> absl::StatusOr<v1::Dataset> {
    began.set_value();
    may_end.get_future().wait();
    return v1::Dataset();
  };
  auto call = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::Dataset response;
    return stub_->GetDataset(&context, {}, &response).ok();
  });
  began.get_future().wait();
  live_calls_.StartDraining();

  auto none =
      std::async(std::launch::async, [&] { live_calls_.WaitUntilNone(absl::InfiniteFuture()); });
  EXPECT_EQ(none.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  may_end.set_value();

  EXPECT_EQ(none.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(call.get());
  EXPECT_EQ(calls_.created, 1);
  EXPECT_EQ(calls_.destroyed, 1);
}

TEST_F(UnaryAnswerTest, AReaderWhoTakesNothingIsGivenUp) {
  v1::Dataset large;
  large.set_error(std::string(1'000'000, 'x'));
  service_.get = [&] { return large; };
  service_.list = [&] {
    v1::ListDatasetsResponse response;
    *response.add_datasets() = large;
    return response;
  };
  const auto get = [&](auto* context, auto* queue) {
    return stub_->PrepareAsyncGetDataset(context, {}, queue);
  };
  EXPECT_EQ((CallWithoutReading<decltype(get), v1::Dataset>(get).error_code()),
            grpc::StatusCode::CANCELLED);
  const auto list = [&](auto* context, auto* queue) {
    return stub_->PrepareAsyncListDatasets(context, {}, queue);
  };
  EXPECT_EQ((CallWithoutReading<decltype(list), v1::ListDatasetsResponse>(list).error_code()),
            grpc::StatusCode::CANCELLED);
  EXPECT_EQ(calls_.destroyed, 2);
}

TEST_F(UnaryAnswerTest, WhatItsWorkThrowsEndsTheCall) {
  service_.get = []() -> absl::StatusOr<v1::Dataset> { throw std::runtime_error("inside"); };
  service_.list = []() -> absl::StatusOr<v1::ListDatasetsResponse> {
    throw std::runtime_error("inside");
  };
  {
    grpc::ClientContext context;
    v1::Dataset response;
    EXPECT_EQ(stub_->GetDataset(&context, {}, &response).error_code(), grpc::StatusCode::INTERNAL);
  }
  grpc::ClientContext context;
  v1::ListDatasetsResponse response;
  EXPECT_EQ(stub_->ListDatasets(&context, {}, &response).error_code(), grpc::StatusCode::INTERNAL);
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
}

}  // namespace
}  // namespace denoise
