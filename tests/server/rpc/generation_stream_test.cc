// What a Generate call's stream says of a generation, while its reader takes its time.
#include "server/rpc/generation_stream.h"

#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "tests/server/generations/generations_testing.h"
#include "tests/server/test_models.h"
#include "tests/support/metrics_text.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Describe(const GenerateEvent& event) {
  switch (event.event_case()) {
    case GenerateEvent::kAccepted:
      return "accepted";
    case GenerateEvent::kQueued:
      return "queued";
    case GenerateEvent::kStarted:
      return "started";
    case GenerateEvent::kProgress:
      return "progress";
    case GenerateEvent::kFrame:
      return absl::StrCat("frame ", event.frame().step());
    case GenerateEvent::kImage:
      return absl::StrCat("image ", event.image().image_index());
    case GenerateEvent::kFinished:
      return "finished";
    default:
      return "nothing";
  }
}

class GenerationStreamTest : public GenerationsFixture {
 protected:
  using Source = GenerateEventSource;

  GenerationStreamTest() {
    request_.set_model("models/faces");
    request_.mutable_sampler()->set_steps(2);
    request_.mutable_frames()->set_every_n_steps(1);
  }

  Call MakeCall() {
    return {.record = std::make_shared<CallRecord>("Generate", clock_.Now()),
            .arrival = clock_.Now(),
            .deadline = deadline_,
            .wake = [this] { ++wakes_; }};
  }

  void Start() {
    source_ = MakeGenerateSource(environment_, request_, MakeCall());
    ASSERT_TRUE(source_->Start().ok());
  }

  // Watches generation "a" after its latest event.
  void WatchFromTheEnd() {
    denoised::v1::WatchGenerationRequest request;
    request.set_name("generations/a");
    request.set_resume_after(Get("a")->last_sequence());
    source_ = MakeWatchSource(environment_, request, MakeCall());
    ASSERT_TRUE(source_->Start().ok());
    status_.reset();
  }

  // The next event; nullopt where there is none, and then waits_ or status_ says why.
  std::optional<GenerateEvent> Next() {
    while (true) {
      absl::StatusOr<Source::Outcome> outcome = source_->Next();
      waits_ = outcome.ok() && std::holds_alternative<Source::Wait>(*outcome);
      if (!outcome.ok()) status_ = outcome.status();
      if (outcome.ok() && std::holds_alternative<Source::Over>(*outcome))
        status_ = absl::OkStatus();
      if (!outcome.ok() || waits_ || status_) return std::nullopt;
      if (auto* event = std::get_if<GenerateEvent>(&*outcome)) return std::move(*event);
    }
  }

  // Takes all that there is.
  std::vector<std::string> TakeAll() {
    std::vector<std::string> names;
    while (auto event = Next()) {
      names.push_back(Describe(*event));
      events_.push_back(*std::move(event));
    }
    return names;
  }

  const GenerationEnvironment environment_{.calls = {.pool = nullptr,
                                                     .clock = &clock_,
                                                     .live_calls = nullptr,
                                                     .call_watch = nullptr,
                                                     .write_time_max = absl::Seconds(60)},
                                           .models = &models_,
                                           .generations = &generations_,
                                           .samples = &samples_,
                                           .telemetry = &telemetry_,
                                           .limits = {}};
  Request request_;
  std::unique_ptr<Source> source_;
  std::vector<GenerateEvent> events_;
  std::optional<absl::Status> status_;  // once it is over
  bool waits_ = false;
  absl::Time deadline_ = absl::InfiniteFuture();  // of calls that are made
};

// Why requests miss their deadlines, as the metrics have it.
class MissedDeadlineTest : public GenerationStreamTest {
 protected:
  MissedDeadlineTest() { deadline_ = clock_.Now() + absl::Seconds(5); }

  void Miss(const absl::Status& status = absl::DeadlineExceededError("late")) {
    source_->OnEnd(status);
  }

  double Misses(const std::string& cause) { return Count("denoised_deadline_misses_total", cause); }
  double Count(const std::string& name, const std::string& cause = "") {
    const MetricsPage page(
        prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect()));
    return cause.empty() ? page.Sum(name) : page.Sum(name, {{"cause", cause}});
  }
};

TEST_F(MissedDeadlineTest, ItCouldNotHaveBeenMet) {
  refusal_ = WithErrorReason(absl::DeadlineExceededError("no"), kDeadlineTooShortReason);
  source_ = MakeGenerateSource(environment_, request_, MakeCall());
  Miss(source_->Start());
  EXPECT_EQ(Misses("refused"), 1);
}

TEST_F(MissedDeadlineTest, ItHadPassedAlready) {
  refusal_ = absl::DeadlineExceededError("the deadline has passed");
  source_ = MakeGenerateSource(environment_, request_, MakeCall());
  Miss(source_->Start());
  EXPECT_EQ(Misses("late"), 1);
}

TEST_F(MissedDeadlineTest, TheModelTookLong) {
  models_.Unload("faces");
  Start();
  TakeAll();
  Miss();
  EXPECT_EQ(Misses("loading"), 1);
}

TEST_F(MissedDeadlineTest, TheQueueWasLong) {
  Start();
  Miss();
  EXPECT_EQ(Misses("queued"), 1);
}

TEST_F(MissedDeadlineTest, TheImagesTookLong) {
  Start();
  sink().OnStarted(absl::ZeroDuration());
  Miss();
  EXPECT_EQ(Misses("running"), 1);
}

TEST_F(MissedDeadlineTest, TheReaderWasSlow) {
  Start();
  sink().OnStarted(absl::ZeroDuration());
  sink().OnImage(Image(0));
  sink().OnFinished(absl::OkStatus());
  Miss();
  EXPECT_EQ(Misses("reading"), 1);
}

TEST_F(MissedDeadlineTest, OnlyRequestsThatHaveADeadlineMissIt) {
  Start();
  Miss(absl::OkStatus());
  EXPECT_EQ(Count("denoised_requests_with_deadline_total"), 1);
  EXPECT_EQ(Count("denoised_deadline_misses_total"), 0);
  deadline_ = absl::InfiniteFuture();
  Start();
  Miss(absl::CancelledError());
  EXPECT_EQ(Count("denoised_requests_with_deadline_total"), 1);
}

// A request for a model that is not in memory.
class UnloadedModelTest : public GenerationStreamTest {
 protected:
  UnloadedModelTest() {
    models_.Unload("faces");
    Start();
  }

  std::optional<std::string> Wanted() { return models_.NextWanted(clock_, clock_.Now()); }
};

TEST_F(UnloadedModelTest, TheRequestStartsOnceItIsLoaded) {
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_TRUE(waits_);
  EXPECT_TRUE(submitted_.empty());
  EXPECT_EQ(Wanted(), "faces");
  models_.Publish(UnconditionalModel());
  EXPECT_EQ(wakes_, 1);
  EXPECT_THAT(TakeAll(), ElementsAre("accepted"));
  ASSERT_EQ(submitted_.size(), 1u);
  EXPECT_EQ(submitted_[0].pipelines->size(), 1u);
}

TEST_F(UnloadedModelTest, TheRequestKeepsItThoughItIsUnloadedAtOnce) {
  models_.Publish(UnconditionalModel());
  models_.Unload("faces");
  EXPECT_THAT(TakeAll(), ElementsAre("accepted"));
  EXPECT_EQ(submitted_[0].pipelines->size(), 1u);
}

// Nor does a slow reader keep it from others once the engine is done.
TEST_F(UnloadedModelTest, OnlyTheEngineKeepsItInMemory) {
  LoadedModelHandle loaded = UnconditionalModel();
  const std::weak_ptr<const LoadedModel> weights = loaded;
  models_.Publish(std::move(loaded));
  EXPECT_THAT(TakeAll(), ElementsAre("accepted"));
  models_.Unload("faces");
  EXPECT_FALSE(weights.expired());
  submitted_.clear();
  EXPECT_TRUE(weights.expired());
}

TEST_F(UnloadedModelTest, AnotherVersionThatItsNameStandsForDoesAsWell) {
  models_.Remove("faces");
  source_.reset();
  const auto version = [](const char* id) {
    Model model = *UnconditionalModel()->model;
    model.id = id;
    return std::make_shared<Model>(std::move(model));
  };
  models_.Describe(version("faces@1"));
  models_.Describe(version("faces@2"));
  Start();
  EXPECT_EQ(Wanted(), "faces@2");
  models_.Fail("faces@2", absl::InvalidArgumentError("its weights are missing"));
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(Wanted(), "faces@1");
  models_.Publish(std::make_shared<LoadedModel>(
      LoadedModel{version("faces@1"), UnconditionalModel()->pipelines}));
  EXPECT_THAT(TakeAll(), ElementsAre("accepted"));
  EXPECT_EQ(events_.back().accepted().model(), "models/faces@1");
}

TEST_F(UnloadedModelTest, TheRequestFailsIfItDoesNotLoad) {
  models_.Fail("faces", absl::InvalidArgumentError("its config is empty"));
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(*status_, absl::FailedPreconditionError("models/faces does not load: its config is "
                                                    "empty"));
}

TEST_F(UnloadedModelTest, ACallerThatLeavesWantsItNoMore) {
  EXPECT_TRUE(source_->OnCallerGone().has_value());
  source_.reset();
  EXPECT_EQ(Wanted(), std::nullopt);
}

TEST_F(UnloadedModelTest, ABadRequestIsRefusedWithoutLoadingIt) {
  source_.reset();
  request_.mutable_sampler()->set_steps(-1);
  source_ = MakeGenerateSource(environment_, request_, MakeCall());
  EXPECT_TRUE(absl::IsInvalidArgument(source_->Start()));
  EXPECT_EQ(Wanted(), std::nullopt);
}

TEST_F(GenerationStreamTest, TellsTheWholeStoryInOrder) {
  Start();
  sink().OnQueued({});
  sink().OnStarted(absl::Seconds(2));
  sink().OnStep(0, 1);
  sink().OnFrame(Frame(1));
  sink().OnStep(0, 2);
  sink().OnFrame(Frame(2));
  sink().OnImage(Image(0));
  clock_.Advance(absl::Milliseconds(1500));
  sink().OnFinished(absl::OkStatus());

  EXPECT_THAT(TakeAll(), ElementsAre("accepted", "queued", "started", "progress", "frame 1",
                                     "frame 2", "image 0", "finished"));
  for (size_t i = 0; i < events_.size(); ++i) {
    EXPECT_EQ(events_[i].sequence(), static_cast<int64_t>(i));
    EXPECT_GT(events_[i].time().seconds() + events_[i].time().nanos(), 0);
  }
  EXPECT_EQ(events_[2].started().queue_wait().seconds(), 2);
  EXPECT_EQ(events_[3].progress().steps_total(), 2);
  EXPECT_EQ(events_[4].frame().timestep(), 100.5);
  EXPECT_EQ(events_[4].frame().kind(), denoised::v1::FRAME_KIND_X0);
  EXPECT_EQ(events_[6].image().seed(), 7u);
  EXPECT_EQ(events_[6].image().image().data().substr(1, 3), "PNG");
  EXPECT_EQ(events_[7].finished().images(), 1);
  EXPECT_EQ(events_[7].finished().frames_sent(), 2);
  EXPECT_EQ(events_[7].finished().elapsed().seconds(), 1);
  EXPECT_EQ(events_[7].finished().elapsed().nanos(), 500'000'000);
  EXPECT_EQ(status_, absl::OkStatus());
  source_.reset();
  EXPECT_THAT(cancelled_, IsEmpty());
}

TEST_F(GenerationStreamTest, AcceptedNamesTheGenerationAndItsFrames) {
  request_.set_request_id("photo-1");
  Start();
  TakeAll();
  ASSERT_THAT(events_, SizeIs(1));
  const denoised::v1::Accepted& accepted = events_[0].accepted();
  EXPECT_EQ(accepted.generation(), "generations/photo-1");
  EXPECT_EQ(accepted.frames().every_n_steps(), 1);
  EXPECT_THAT(accepted.frames().kinds(), ElementsAre(denoised::v1::FRAME_KIND_X0));
  EXPECT_EQ(accepted.frames().encoding(), denoised::v1::ENCODING_PNG);
  EXPECT_EQ(accepted.frames().max_bytes(), RequestLimits().max_frame_bytes);
}

TEST_F(GenerationStreamTest, WaitsWhileThereIsNothingToSayAndIsWokenOnceThereIs) {
  Start();
  EXPECT_THAT(TakeAll(), ElementsAre("accepted"));
  EXPECT_TRUE(waits_);
  const int wakes = wakes_;
  sink().OnImage(Image(0));
  EXPECT_EQ(wakes_, wakes + 1);
  EXPECT_THAT(TakeAll(), ElementsAre("image 0"));
}

TEST_F(GenerationStreamTest, ASlowReaderGetsTheLatestFramesAndEveryImage) {
  Start();
  ASSERT_TRUE(Next());  // accepted is on its way, and takes its time
  for (int step = 1; step <= 300; ++step) sink().OnFrame(Frame(step));
  sink().OnImage(Image(0));
  sink().OnImage(Image(1));
  sink().OnFinished(absl::OkStatus());
  const std::vector<std::string> rest = TakeAll();
  ASSERT_THAT(rest, SizeIs(256 + 3));
  EXPECT_EQ(rest.front(), "frame 45");
  EXPECT_THAT(std::vector(rest.end() - 4, rest.end()),
              ElementsAre("frame 300", "image 0", "image 1", "finished"));
  EXPECT_EQ(events_.back().finished().frames_dropped(), 44);
}

TEST_F(GenerationStreamTest, ProgressIsAsItStandsWhenItIsWritten) {
  request_.mutable_sampler()->set_steps(50);
  Start();
  ASSERT_TRUE(Next());
  for (int step = 1; step <= 30; ++step) sink().OnStep(0, step);
  const auto progress = Next();
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->progress().steps_done(), 30);
  EXPECT_EQ(progress->progress().steps_total(), 50);
}

TEST_F(GenerationStreamTest, FramesOverTheSizeLimitAreLeftOutAndCounted) {
  request_.mutable_frames()->set_encoding(denoised::v1::ENCODING_RAW_FLOAT32);
  request_.mutable_frames()->set_max_bytes(3 * 8 * 8 * 4);
  Start();
  sink().OnFrame(Frame(1, 8));  // exactly the limit
  sink().OnFrame(Frame(2, 9));
  sink().OnFrame(Frame(3, 8));
  sink().OnFinished(absl::OkStatus());
  EXPECT_THAT(TakeAll(), ElementsAre("accepted", "frame 1", "frame 3", "finished"));
  EXPECT_EQ(events_.back().finished().frames_sent(), 2);
  EXPECT_EQ(events_.back().finished().frames_dropped(), 1);
}

TEST_F(GenerationStreamTest, AFailureEndsWithItsStatusAfterWhatWasReady) {
  Start();
  sink().OnImage(Image(0));
  sink().OnFinished(absl::InternalError("the output is not finite"));
  EXPECT_THAT(TakeAll(), ElementsAre("accepted", "image 0"));
  EXPECT_EQ(status_, absl::InternalError("the output is not finite"));
}

TEST_F(GenerationStreamTest, ResumingAtTheEndOfAFailureEndsWithItsStatus) {
  request_.set_request_id("a");
  Start();
  sink().OnFinished(absl::InternalError("the output is not finite"));
  TakeAll();
  WatchFromTheEnd();
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(status_, absl::InternalError("the output is not finite"));
}

TEST_F(GenerationStreamTest, ResumingAtTheEndOfASuccessIsOver) {
  request_.set_request_id("a");
  Start();
  sink().OnFinished(absl::OkStatus());
  TakeAll();
  WatchFromTheEnd();
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(status_, absl::OkStatus());
}

TEST_F(GenerationStreamTest, ACallerWhoLeavesCancelsOnceAndTheStreamEndsWhenTheEngineLetsGo) {
  Start();
  ASSERT_TRUE(Next());
  sink().OnImage(Image(0));
  EXPECT_EQ(source_->OnCallerGone(), std::nullopt);
  EXPECT_THAT(cancelled_, SizeIs(1));
  sink().OnFrame(Frame(1));
  EXPECT_EQ(source_->OnCallerGone(), std::nullopt);
  sink().OnFinished(absl::CancelledError("cancelled"));
  EXPECT_EQ(source_->OnCallerGone()->code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(cancelled_, SizeIs(1));
}

TEST_F(GenerationStreamTest, ACallerWhoLeavesADetachedGenerationIsGoneAtOnce) {
  request_.set_on_disconnect(denoised::v1::ON_DISCONNECT_DETACH);
  Start();
  ASSERT_TRUE(Next());
  EXPECT_EQ(source_->OnCallerGone()->code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(cancelled_, IsEmpty());
}

TEST_F(GenerationStreamTest, LeavingAfterTheEngineFinishedIsACancellation) {
  Start();
  sink().OnImage(Image(0));
  sink().OnFinished(absl::OkStatus());
  ASSERT_TRUE(Next());
  EXPECT_EQ(source_->OnCallerGone()->code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(cancelled_, IsEmpty());
}

TEST_F(GenerationStreamTest, LeavingOnceAllWasSaidIsNone) {
  Start();
  sink().OnFinished(absl::OkStatus());
  EXPECT_THAT(TakeAll(), ElementsAre("accepted", "finished"));
  EXPECT_EQ(source_->OnCallerGone(), absl::OkStatus());
}

TEST_F(GenerationStreamTest, WhoLeavesHoldsNothing) {
  Start();
  ASSERT_TRUE(Next());
  std::vector<float> pixels(3 * 8 * 8);
  absl::Notification freed;
  auto image = Image(0);
  image.sample = at::from_blob(pixels.data(), {3, 8, 8}, [&](void*) { freed.Notify(); });
  sink().OnImage(std::move(image));
  sink().OnFinished(absl::OkStatus());
  sinks_.clear();
  EXPECT_FALSE(freed.HasBeenNotified());
  source_->OnCallerGone();
  source_.reset();
  freed.WaitForNotification();
}

TEST_F(GenerationStreamTest, APictureThatCannotBeEncodedFailsTheRequestAndFreesItsRows) {
  Start();
  ASSERT_TRUE(Next());
  sink().OnFrame({.image_index = 0,
                  .step = 1,
                  .timestep = 0,
                  .kind = FrameKind::kX0,
                  .sample = at::zeros({7, 8, 8})});  // no picture has 7 channels
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_TRUE(waits_);
  EXPECT_THAT(cancelled_, SizeIs(1));
  sink().OnFinished(absl::CancelledError("cancelled"));
  EXPECT_THAT(TakeAll(), IsEmpty());
  EXPECT_EQ(status_->code(), absl::StatusCode::kInternal);
}

TEST_F(GenerationStreamTest, ARefusalComesBeforeTheFirstEvent) {
  refusal_ = absl::UnavailableError("the queue is full");
  source_ = MakeGenerateSource(environment_, request_, MakeCall());
  EXPECT_EQ(source_->Start(), refusal_);
  request_.mutable_sampler()->set_steps(0);
  request_.set_request_id("not an id");
  request_.set_on_disconnect(static_cast<denoised::v1::OnDisconnect>(17));
  source_ = MakeGenerateSource(environment_, request_, MakeCall());
  const absl::Status status = source_->Start();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* field : {"sampler.steps", "request_id", "on_disconnect"}) {
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(field));
  }
}

}  // namespace
}  // namespace denoise
