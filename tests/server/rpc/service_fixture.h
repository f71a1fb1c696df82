// The services behind a real connection, in one process.
#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <utility>

#include "server/grpc_listener.h"
#include "server/rpc/activity_service.h"
#include "server/rpc/image_generation_service.h"
#include "server/rpc/models_service.h"
#include "tests/server/test_models.h"
#include "tests/support/fake_clock.h"

namespace denoise {

class ServiceTest : public testing::Test {
 protected:
  // Over a connection that takes little of what nobody reads: its windows do not grow.
  std::unique_ptr<denoised::v1::ImageGeneration::Stub> StubWithSmallWindows() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return denoised::v1::ImageGeneration::NewStub(grpc::CreateCustomChannel(
        listener_.address, grpc::InsecureChannelCredentials(), arguments));
  }

  static constexpr absl::Duration kWriteTimeMax = absl::Seconds(2);
  static constexpr int64_t kMaxUnreadBytes = 64 << 20;

  ~ServiceTest() override { listener_.server->Shutdown(); }

  // Lets the time pass that ends calls on which nobody reads, until no call is left.
  void WaitUntilStalledCallsEnd() {
    const auto none = std::async(std::launch::async,
                                 [this] { live_calls_.WaitUntilNone(absl::InfiniteFuture()); });
    call_clock_.AdvanceUntilReady(none, kWriteTimeMax / 100);
  }

  static ServerFlags Flags() {
    ServerFlags flags;
    flags.listen = "127.0.0.1:0";
    flags.max_receive_bytes = 4096;
    return flags;
  }

  ModelRepository models_{TestModels()};
  AdapterCatalog adapter_catalog_{/*models=*/"", /*adapters=*/""};
  AdapterLibrary adapters_{&adapter_catalog_, {}};
  AdapterReader adapter_reader_{&adapters_};
  Telemetry telemetry_{"test", {"cpu"}};
  FakeClock call_clock_;  // of what calls may take; everything else has the real one
  std::atomic<bool> short_of_memory_ = false;
  LiveCalls live_calls_{&call_clock_, [this] {
                          return short_of_memory_ ? absl::UnavailableError("short of memory")
                                                  : absl::OkStatus();
                        }};
  WorkPool pool_{2};
  SampleBudget samples_{kMaxUnreadBytes};
  CallWatch call_watch_{kWriteTimeMax / 10, &call_clock_};
  Generations generations_{
      {.submit =
           [this](GenerationRequest request, std::shared_ptr<GenerationSink> sink) {
             return engine_.Submit(std::move(request), std::move(sink));
           },
       .cancel = [this](Engine::Id id) { engine_.Cancel(id); },
       .pause = [this](Engine::Id id) { engine_.Pause(id); },
       .cost = [this](const GenerationRequest& request) { return engine_.CostOf(request); },
       .clock = &Clock::Real(),
       .samples = &samples_,
       .telemetry = &telemetry_,
       .handover_bytes = 1 << 20},
      {}};
  Engine engine_{{}, Clock::Real(), &telemetry_};
  const GenerationEnvironment environment_{
      .calls = {.pool = &pool_,
                .clock = &call_clock_,
                .live_calls = &live_calls_,
                .call_watch = &call_watch_,
                .write_time_max = kWriteTimeMax},
      .models = &models_,
      .adapters = &adapter_reader_,
      .generations = &generations_,
      .fitting_evaluations =
          [this](const GenerationRequest& request) { return engine_.FittingEvaluations(request); },
      .samples = &samples_,
      .telemetry = &telemetry_,
      .limits = {},
      .handover_keys = *ParseTokenKeys(NewTokenKeyLine())};
  ImageGenerationService generation_{environment_};
  GenerationsService generations_service_{environment_};
  ActivityService activity_service_{
      {.calls = environment_.calls, .activity = &telemetry_.activity(), .engine = &engine_}};
  ModelsService models_service_{
      &models_, /*managed=*/nullptr, &adapter_catalog_, environment_.calls, &pool_, &pool_};
  MemoryGuard memory_{ProcessMemory(/*flag_bytes=*/0)};
  GrpcListener listener_ =
      *Listen(Flags(),
              {{denoised::v1::ImageGeneration::service_full_name(), &generation_},
               {denoised::v1::Generations::service_full_name(), &generations_service_},
               {denoised::v1::Activity::service_full_name(), &activity_service_},
               {denoised::v1::Models::service_full_name(), &models_service_}},
              &memory_, nullptr);
  std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel(listener_.address, grpc::InsecureChannelCredentials());
  std::unique_ptr<denoised::v1::ImageGeneration::Stub> stub_ =
      denoised::v1::ImageGeneration::NewStub(channel_);
  std::unique_ptr<denoised::v1::Generations::Stub> generations_stub_ =
      denoised::v1::Generations::NewStub(channel_);
  std::unique_ptr<grpc::ClientContext> context_;
};

}  // namespace denoise
