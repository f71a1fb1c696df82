// Servers whose engines evaluate as often as a test tells them, on the thread of the test.
#pragma once

#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/retry.h"
#include "core/diffusion/denoising_loop.h"
#include "server/rpc/generation_stream.h"
#include "tests/server/test_models.h"
#include "tests/support/fake_clock.h"

namespace denoise {

// Runs the images of one generation on the thread of the test, one after the other.
class SteppingEngine {
 public:
  absl::StatusOr<Engine::Id> Submit(GenerationRequest request,
                                    std::shared_ptr<GenerationSink> sink) {
    request_ = std::move(request);
    sink_ = std::move(sink);
    const std::vector<int>& done = request_.continues_from.images_done;
    images_done_ = {done.begin(), done.end()};
    trajectories_.clear();
    for (const auto& [index, snapshot] : request_.continues_from.images_begun) {
      Begin(index).Continue(snapshot, *runtime_);
    }
    return 1;
  }

  // At most `count` evaluations.
  void Evaluate(int count) {
    const c10::InferenceMode inference;
    DenoisingLoop loop(*request_.pipelines->front()->network, runtime_);
    for (int i = 0; i < request_.count && count > 0; ++i) {
      if (images_done_.contains(i)) continue;
      Trajectory& image = trajectories_.contains(i) ? trajectories_.at(i) : Begin(i);
      for (; !image.done() && count > 0; --count, ++evaluations_) loop.Evaluate({&image});
      if (image.done()) Finish(i);
    }
  }

  void Drain() { HandOver(DrainingError()); }
  void Pause() { on_pause ? on_pause() : HandOver(PausedError()); }

  std::function<void()> on_pause;  // what happens instead

  int evaluations() const { return evaluations_; }
  bool accepts_handover() { return sink_->AcceptsHandover(); }

 private:
  void HandOver(const absl::Status& status) {
    if (sink_->AcceptsHandover()) {
      std::vector<ImageSnapshot> begun;
      for (const auto& [index, image] : trajectories_) begun.push_back({index, image.Snapshot()});
      sink_->OnHandover(std::move(begun));
    }
    sink_->OnFinished(status);
  }

  Trajectory& Begin(int index) {
    const auto added = trajectories_.emplace(
        index, Trajectory(request_.plan, request_.conditioning,
                          request_.seed + static_cast<uint64_t>(index), request_.shape, *runtime_,
                          request_.start, request_.inpainting));
    return added.first->second;
  }

  void Finish(int index) {
    sink_->OnImage({.image_index = index,
                    .seed = request_.seed + static_cast<uint64_t>(index),
                    .sample = trajectories_.at(index).x().clone()});
    trajectories_.erase(index);
    images_done_.insert(index);
    if (images_done_.size() == static_cast<size_t>(request_.count)) {
      sink_->OnFinished(absl::OkStatus());
    }
  }

  const std::shared_ptr<DeviceRuntime> runtime_ = MakeDeviceRuntime(at::kCPU);
  GenerationRequest request_;
  std::shared_ptr<GenerationSink> sink_;
  std::map<int, Trajectory> trajectories_;  // of images that have begun
  std::set<int> images_done_;
  int evaluations_ = 0;
};

// All that a stream has said so far.
struct Received {
  std::vector<denoised::v1::GenerateEvent> events;
  std::optional<absl::Status> end;

  std::map<int, std::string> Images() const {
    std::map<int, std::string> images;
    for (const denoised::v1::GenerateEvent& event : events) {
      if (event.has_image()) images[event.image().image_index()] = event.image().image().data();
    }
    return images;
  }

  std::string Token() const { return events.empty() ? "" : events.back().handover().token(); }
};

// A server, and the latest call to it.
class Replica {
 public:
  explicit Replica(FakeClock& clock, TokenKeys keys) : clock_(clock), keys_(std::move(keys)) {}

  // The caller of the one before leaves after this.
  void Generate(const denoised::v1::GenerateRequest& request) {
    const auto before = std::move(source_);
    request_ = request;
    source_ = MakeGenerateSource(environment_, request_, MakeCall());
    received_ = {};
    if (const absl::Status status = source_->Start(); !status.ok()) received_.end = status;
    Read();
  }

  // Reads the generation beside its caller.
  Received Watch() {
    denoised::v1::WatchGenerationRequest request;
    request.set_name(received_.events.front().accepted().generation());
    const auto watch = MakeWatchSource(environment_, request, MakeCall());
    EXPECT_TRUE(watch->Start().ok());
    Received received;
    Read(*watch, received);
    return received;
  }

  const Received& Read() {
    if (!received_.end) Read(*source_, received_);
    return received_;
  }

  void Leave() { source_.reset(); }

  // Of the generation of the latest call.
  absl::StatusOr<std::unique_ptr<Generations::Reader>> Pause(const Identity& caller = Anyone()) {
    denoised::v1::PauseGenerationRequest request;
    request.set_name(received_.events.front().accepted().generation());
    return generations_.Pause(request,
                              {.arrival = clock_.Now(), .wake = [] {}, .identity = caller});
  }
  absl::Status Cancel() {
    denoised::v1::CancelGenerationRequest request;
    request.set_name(received_.events.front().accepted().generation());
    return generations_.Cancel(request, Anyone()).status();
  }

  absl::StatusOr<denoised::v1::Generation> Get(const std::string& name) {
    denoised::v1::GetGenerationRequest request;
    request.set_name(name);
    return generations_.Get(request, Anyone());
  }

  // Of the latest call.
  const CallRecord& record() const { return *record_; }
  // What the log says of it once it has ended.
  nlohmann::ordered_json LogLine() {
    source_->OnEnd(*received_.end);
    return record_->Line("", "", 0, clock_.Now());
  }

  std::string traceparent;  // which later calls send

  SteppingEngine& engine() { return engine_; }
  ModelRepository& models() { return models_; }

 private:
  Call MakeCall() {
    record_ = std::make_shared<CallRecord>("Generate", clock_.Now());
    record_->Begin(traceparent, "");
    return {
        .record = record_, .arrival = clock_.Now(), .deadline = absl::InfiniteFuture(), .wake = [] {
        }};
  }

  static void Read(GenerateEventSource& source, Received& received) {
    while (true) {
      absl::StatusOr<GenerateEventSource::Outcome> outcome = source.Next();
      if (!outcome.ok()) {
        received.end = outcome.status();
        return;
      }
      if (std::holds_alternative<GenerateEventSource::Wait>(*outcome)) return;
      if (std::holds_alternative<GenerateEventSource::Over>(*outcome)) {
        received.end = absl::OkStatus();
        return;
      }
      if (auto* event = std::get_if<denoised::v1::GenerateEvent>(&*outcome)) {
        received.events.push_back(std::move(*event));
      }
    }
  }

  FakeClock& clock_;
  const TokenKeys keys_;
  Telemetry telemetry_{"test", {}};
  ModelRepository models_{TestModels()};
  SampleBudget samples_{int64_t{64} << 20};
  SteppingEngine engine_;
  Generations generations_{
      {.submit = [this](auto request,
                        auto sink) { return engine_.Submit(std::move(request), std::move(sink)); },
       .cancel = [](Engine::Id) {},
       .pause = [this](Engine::Id) { engine_.Pause(); },
       .clock = &clock_,
       .samples = &samples_,
       .telemetry = &telemetry_,
       .handover_bytes = keys_.empty() ? 0 : 4 << 20},
      {}};
  const GenerationEnvironment environment_{.calls = {.pool = nullptr,
                                                     .clock = &clock_,
                                                     .live_calls = nullptr,
                                                     .call_watch = nullptr,
                                                     .write_time_max = absl::Seconds(60)},
                                           .models = &models_,
                                           .generations = &generations_,
                                           .samples = &samples_,
                                           .telemetry = &telemetry_,
                                           .limits = {},
                                           .handover_keys = keys_};
  denoised::v1::GenerateRequest request_;
  std::shared_ptr<CallRecord> record_;
  std::unique_ptr<GenerateEventSource> source_;
  Received received_;
};

// Three servers of one deployment, and a request for three images.
class MovingGenerationTest : public testing::Test {
 protected:
  static constexpr int kSteps = 5;

  MovingGenerationTest() {
    request_.set_model("models/faces");
    request_.set_count(3);
    request_.mutable_sampler()->set_steps(kSteps);
    request_.set_accept_handover(true);
  }

  static denoised::v1::GenerateRequest Presenting(const std::string& token) {
    denoised::v1::GenerateRequest request;
    request.set_handover(token);
    return request;
  }

  // What the first server hands over after some evaluations.
  std::string HandedOver(int evaluations) {
    first_.Generate(request_);
    first_.engine().Evaluate(evaluations);
    first_.engine().Drain();
    return first_.Read().Token();
  }

  static absl::Status RefusalOf(Replica& replica, const denoised::v1::GenerateRequest& request) {
    replica.Generate(request);
    return replica.Read().end.value_or(absl::OkStatus());
  }

  static TokenKeys Keys(char digit) { return *ParseTokenKeys(std::string(64, digit)); }

  FakeClock clock_;
  denoised::v1::GenerateRequest request_;
  Replica first_{clock_, Keys('1')}, second_{clock_, Keys('1')}, third_{clock_, Keys('1')};
};

}  // namespace denoise
