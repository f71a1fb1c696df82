// Generations that move between servers, each with an engine that evaluates as often as it is told.
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "core/diffusion/denoising_loop.h"
#include "server/rpc/generation_stream.h"
#include "tests/server/test_models.h"
#include "tests/support/fake_clock.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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

  void Drain() {
    if (sink_->AcceptsHandover()) {
      std::vector<ImageSnapshot> begun;
      for (const auto& [index, image] : trajectories_) begun.push_back({index, image.Snapshot()});
      sink_->OnHandover(std::move(begun));
    }
    sink_->OnFinished(DrainingError());
  }

  int evaluations() const { return evaluations_; }
  bool accepts_handover() { return sink_->AcceptsHandover(); }

 private:
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
  std::vector<v1::GenerateEvent> events;
  std::optional<absl::Status> end;

  std::map<int, std::string> Images() const {
    std::map<int, std::string> images;
    for (const v1::GenerateEvent& event : events) {
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
  void Generate(const v1::GenerateRequest& request) {
    const auto before = std::move(source_);
    request_ = request;
    source_ = MakeGenerateSource(environment_, request_, MakeCall());
    received_ = {};
    if (const absl::Status status = source_->Start(); !status.ok()) received_.end = status;
    Read();
  }

  // Reads the generation beside its caller.
  Received Watch() {
    v1::WatchGenerationRequest request;
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

  // Of the latest call.
  const CallRecord& record() const { return *record_; }

  SteppingEngine& engine() { return engine_; }
  ModelRepository& models() { return models_; }

 private:
  Call MakeCall() {
    record_ = std::make_shared<CallRecord>("Generate", clock_.Now());
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
      if (auto* event = std::get_if<v1::GenerateEvent>(&*outcome)) {
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
       .clock = &clock_,
       .samples = &samples_,
       .telemetry = &telemetry_,
       .handover_bytes = 4 << 20},
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
  v1::GenerateRequest request_;
  std::shared_ptr<CallRecord> record_;
  std::unique_ptr<GenerateEventSource> source_;
  Received received_;
};

class HandoverTest : public testing::Test {
 protected:
  static constexpr int kSteps = 5;

  HandoverTest() {
    request_.set_model("models/faces");
    request_.set_count(3);
    request_.mutable_sampler()->set_steps(kSteps);
    request_.set_accept_handover(true);
  }

  static v1::GenerateRequest Presenting(const std::string& token) {
    v1::GenerateRequest request;
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

  absl::Status RefusalOf(Replica& replica, const v1::GenerateRequest& request) {
    replica.Generate(request);
    return replica.Read().end.value_or(absl::OkStatus());
  }

  static TokenKeys Keys(char digit) { return *ParseTokenKeys(std::string(64, digit)); }

  FakeClock clock_;
  v1::GenerateRequest request_;
  Replica first_{clock_, Keys('1')}, second_{clock_, Keys('1')}, third_{clock_, Keys('1')};
};

TEST_F(HandoverTest, AGenerationThatMovesTwiceHasTheSameBytesAndRepeatsNothing) {
  request_.set_seed(7);
  Replica undisturbed(clock_, Keys('1'));
  undisturbed.Generate(request_);
  undisturbed.engine().Evaluate(3 * kSteps);

  const std::string token = HandedOver(kSteps + 2);
  ASSERT_FALSE(token.empty());
  EXPECT_TRUE(absl::IsUnavailable(*first_.Read().end)) << *first_.Read().end;
  EXPECT_EQ(GetRetryDelay(*first_.Read().end), absl::ZeroDuration());
  second_.Generate(Presenting(token));
  second_.engine().Evaluate(4);
  second_.engine().Drain();
  third_.Generate(Presenting(second_.Read().Token()));
  third_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(third_.Read().end, absl::OkStatus());

  std::map<int, std::string> images;
  for (Replica* replica : {&first_, &second_, &third_}) {
    for (const auto& [index, bytes] : replica->Read().Images()) {
      EXPECT_TRUE(images.emplace(index, bytes).second) << "image " << index << " was sent twice";
    }
  }
  EXPECT_EQ(images, undisturbed.Read().Images());
  EXPECT_EQ(first_.engine().evaluations() + second_.engine().evaluations() +
                third_.engine().evaluations(),
            undisturbed.engine().evaluations());
}

TEST_F(HandoverTest, TheStreamContinuesItsNumbersNameAndSeed) {
  second_.Generate(Presenting(HandedOver(kSteps + 2)));
  const v1::GenerateEvent& before = first_.Read().events.front();
  const v1::GenerateEvent& after = second_.Read().events.front();
  EXPECT_EQ(after.sequence(), first_.Read().events.back().sequence() + 1);
  EXPECT_EQ(after.accepted().generation(), before.accepted().generation());
  EXPECT_EQ(after.accepted().seed(), before.accepted().seed()) << "which the server chose";
  EXPECT_EQ(before.accepted().evaluations_done(), 0);
  EXPECT_EQ(after.accepted().evaluations_done(), kSteps + 2);
}

TEST_F(HandoverTest, TheTraceContinues) {
  second_.Generate(Presenting(HandedOver(1)));
  second_.Read();
  EXPECT_EQ(second_.record().trace_id(), first_.record().trace_id());
  EXPECT_NE(second_.record().trace().span_id, first_.record().trace().span_id);
}

TEST_F(HandoverTest, NothingThatHasBegunIsAHandoverToo) {
  second_.Generate(Presenting(HandedOver(0)));
  second_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(second_.Read().end, absl::OkStatus());
  EXPECT_THAT(second_.Read().Images(), SizeIs(3));
}

TEST_F(HandoverTest, ASecondCallWithTheSameTokenJoins) {
  const std::string token = HandedOver(1);
  second_.Generate(Presenting(token));
  const std::string name = second_.Read().events.front().accepted().generation();
  second_.engine().Evaluate(1);
  second_.Generate(Presenting(token));
  EXPECT_EQ(second_.Read().events.front().accepted().generation(), name);
  second_.engine().Evaluate(3 * kSteps);
  EXPECT_EQ(second_.engine().evaluations(), 3 * kSteps - 1) << "not begun again";
}

TEST_F(HandoverTest, ACallThatDoesNotAcceptOneGetsNone) {
  request_.clear_accept_handover();
  EXPECT_EQ(HandedOver(1), "");
}

// A server may still finish it before it stops.
TEST_F(HandoverTest, WhatNobodyReadsIsNotHandedOver) {
  request_.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  first_.Generate(request_);
  first_.engine().Evaluate(1);
  EXPECT_TRUE(first_.engine().accepts_handover());
  first_.Leave();
  EXPECT_FALSE(first_.engine().accepts_handover());
}

TEST_F(HandoverTest, AWatcherGetsNoToken) {
  first_.Generate(request_);
  first_.engine().Evaluate(1);
  first_.engine().Drain();
  const Received watched = first_.Watch();
  EXPECT_EQ(watched.Token(), "");
  EXPECT_TRUE(absl::IsUnavailable(*watched.end));
}

// --- Refusals

TEST_F(HandoverTest, EveryOtherFieldOfARequestThatPresentsOneIsRefused) {
  v1::GenerateRequest request = Presenting(HandedOver(1));
  request.set_model("models/faces");
  request.set_seed(8);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(RefusalOf(second_, request))) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, UnorderedElementsAre("model", "seed"));
}

TEST_F(HandoverTest, ADamagedTokenAndOneOfAnotherDeploymentAreRefused) {
  const std::string token = HandedOver(1);
  Replica stranger(clock_, Keys('2'));
  const auto expect_refused = [&](Replica& replica, const std::string& presented) {
    const auto violations = GetFieldViolations(RefusalOf(replica, Presenting(presented)));
    ASSERT_THAT(violations, SizeIs(1));
    EXPECT_EQ(violations.front().field, "handover");
  };
  expect_refused(stranger, token);
  expect_refused(second_, token.substr(1));
  expect_refused(second_, "x");
}

TEST_F(HandoverTest, ATokenExpires) {
  const std::string token = HandedOver(1);
  clock_.Advance(absl::Minutes(11));
  const absl::Status status = RefusalOf(second_, Presenting(token));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_EXPIRED");
}

TEST_F(HandoverTest, AnotherVersionOfTheModelDoesNotContinueIt) {
  const std::string token = HandedOver(1);
  const LoadedModelHandle same = UnconditionalModel();
  Model other = *same->model;
  other.version = "89abcdef";
  second_.models().Publish(std::make_shared<LoadedModel>(
      LoadedModel{std::make_shared<Model>(std::move(other)), same->pipelines}));
  const absl::Status status = RefusalOf(second_, Presenting(token));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetErrorReason(status), "HANDOVER_UNSUITABLE");
}

TEST_F(HandoverTest, AServerWithoutAKeyTakesNone) {
  Replica keyless(clock_, {});
  const absl::Status status = RefusalOf(keyless, Presenting(HandedOver(1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--handover-key"));
}

}  // namespace
}  // namespace denoise
