// Who reads a generation, when it ends without readers, and how long its result is kept.
#include "server/generations/generations.h"

#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "tests/server/generations/generations_testing.h"
#include "tests/support/metrics_text.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class GenerationsTest : public GenerationsFixture {
 protected:
  static Request Detached(const std::string& id) {
    Request request = Named(id);
    request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
    return request;
  }

  // Who presents a token of a generation in which no work is done yet.
  Caller CallerWithTokenOf(const v1::Accepted& accepted) {
    Caller caller = MakeCaller();
    caller.presented = {accepted.seed(), accepted.model_version(), /*evaluations_done=*/0,
                        /*bytes=*/100};
    return caller;
  }

  // Runs the request to its end and leaves it.
  void Finish(const Request& request, const absl::Status& status = absl::OkStatus()) {
    const auto reader = Generate(request);
    ASSERT_TRUE(reader.ok()) << reader.status();
    sink().OnImage(Image(0));
    sink().OnFinished(status);
    sinks_.back().reset();
  }

  std::vector<std::string> Listed(int page_size = 0) {
    std::vector<std::string> names;
    v1::ListGenerationsRequest request;
    request.set_page_size(page_size);
    do {
      const auto page = generations_.List(request, Anyone());
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      EXPECT_LE(page->generations_size(), page_size == 0 ? 1000 : page_size);
      for (const auto& generation : page->generations()) names.push_back(generation.name());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return names;
  }

  // The most that another call can reserve now.
  int64_t FreeBytes() {
    int64_t fits = 0;
    for (int64_t step = int64_t{64} << 20; step > 0; step /= 2) {
      if (samples_.Reserve(fits + step).ok()) fits += step;
    }
    return fits;
  }

  std::string ReasonOf(const absl::Status& status) {
    return GetErrorReason(status).value_or("none");
  }
};

TEST_F(GenerationsTest, ARetryJoinsTheRunningGeneration) {
  const auto first = *Generate(Named("a"));
  const auto second = *Generate(Named("a"));
  EXPECT_THAT(sinks_, SizeIs(1));
  EXPECT_EQ(IdOf(*second), "a");
  EXPECT_EQ(Get("a")->readers(), 2);
  const auto event = second->Next();
  ASSERT_TRUE(event);
  EXPECT_EQ(std::get<v1::Accepted>(event->what).generation(), "generations/a");
}

TEST_F(GenerationsTest, ARetryJoinsTheFinishedGeneration) {
  Finish(Named("a"));
  const auto reader = *Generate(Named("a"));
  EXPECT_THAT(sinks_, SizeIs(1));
  std::vector<GenerationLog::Event> events;
  while (auto event = reader->Next()) events.push_back(*std::move(event));
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_TRUE(std::holds_alternative<ImageUpdate>(events[1].what));
  EXPECT_TRUE(reader->over());
}

TEST_F(GenerationsTest, ARequestWithoutAnIdIsAlwaysAnother) {
  const auto first = *Generate(Named(""));
  const auto second = *Generate(Named(""));
  EXPECT_THAT(sinks_, SizeIs(2));
  EXPECT_NE(IdOf(*first), IdOf(*second));
  EXPECT_TRUE(Get(IdOf(*first)).ok());
}

TEST_F(GenerationsTest, AnotherRequestWithTheSameIdIsRefusedByTheFieldsThatDiffer) {
  const auto first = *Generate(Named("a"));
  Request other = Named("a", /*steps=*/3);
  other.set_seed(5);
  other.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  const absl::Status status = Generate(other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("on_disconnect, sampler, seed."), Not(HasSubstr("model"))));
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_IN_USE");

  Request same = Named("a");
  same.set_on_disconnect(v1::ON_DISCONNECT_CANCEL);
  EXPECT_TRUE(Generate(same).ok()) << "CANCEL is the default";
}

TEST_F(GenerationsTest, ARetryAfterAFailureStartsAnother) {
  Finish(Named("a"), absl::InternalError("broken"));
  EXPECT_EQ(Get("a")->state(), v1::Generation::FAILED);
  const auto reader = *Generate(Named("a", /*steps=*/3));
  EXPECT_THAT(sinks_, SizeIs(2));
  EXPECT_EQ(Get("a")->state(), v1::Generation::QUEUED);
  EXPECT_THAT(Listed(), ElementsAre("generations/a"));
}

TEST_F(GenerationsTest, ARetryWhileTheFirstIsBeingCancelledStartsAnother) {
  auto first = *Generate(Named("a"));
  first.reset();
  EXPECT_THAT(cancelled_, ElementsAre(0));
  const auto second = *Generate(Named("a"));
  ASSERT_THAT(sinks_, SizeIs(2));
  sinks_[0]->OnFinished(absl::CancelledError("cancelled"));
  EXPECT_EQ(Get("a")->state(), v1::Generation::QUEUED);
  sinks_[1]->OnStarted(absl::ZeroDuration());
  EXPECT_EQ(Get("a")->state(), v1::Generation::RUNNING);
}

TEST_F(GenerationsTest, TheLastReaderWhoLeavesCancels) {
  auto first = *Generate(Named("a"));
  auto watcher = *Watch("a");
  first.reset();
  EXPECT_THAT(cancelled_, IsEmpty()) << "somebody still reads it";
  EXPECT_FALSE(watcher->Leave()) << "the engine has not let go";
  EXPECT_THAT(cancelled_, ElementsAre(0));
  EXPECT_EQ(Get("a")->state(), v1::Generation::CANCELLING);
  const int wakes = wakes_;
  sink().OnFinished(absl::CancelledError("cancelled"));
  EXPECT_GT(wakes_, wakes);
  EXPECT_TRUE(watcher->Leave());
  EXPECT_THAT(cancelled_, SizeIs(1));
}

TEST_F(GenerationsTest, ADetachedGenerationGoesOnWithoutReaders) {
  auto reader = *Generate(Detached("a"), clock_.Now() + absl::Seconds(1));
  EXPECT_EQ(submitted_[0].deadline, absl::InfiniteFuture()) << "the deadline is the caller's";
  EXPECT_TRUE(reader->Leave());
  reader.reset();
  EXPECT_THAT(cancelled_, IsEmpty());
  sink().OnFinished(absl::OkStatus());
  EXPECT_EQ(Get("a")->state(), v1::Generation::SUCCEEDED);
  EXPECT_EQ(Get("a")->on_disconnect(), v1::ON_DISCONNECT_DETACH);
}

TEST_F(GenerationsTest, ACancelledOneHasItsCallersDeadline) {
  const auto reader = *Generate(Named("a"), clock_.Now() + absl::Seconds(1));
  EXPECT_EQ(submitted_[0].deadline, clock_.Now() + absl::Seconds(1));
}

TEST_F(GenerationsTest, ARefusedRequestLeavesNothing) {
  refusal_ = absl::UnavailableError("the queue is full");
  EXPECT_EQ(Generate(Named("a")).status(), refusal_);
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_NOT_FOUND");
  EXPECT_TRUE(samples_.Reserve(int64_t{64} << 20).ok()) << "its memory is free again";
  refusal_ = absl::OkStatus();
  EXPECT_TRUE(Generate(Named("a")).ok());
}

TEST_F(GenerationsTest, WithoutAWayBackNothingIsKept) {
  auto reader = *Generate(Named(""));
  const std::string id = IdOf(*reader);
  sink().OnImage(Image(0));
  sink().OnFinished(absl::OkStatus());
  EXPECT_TRUE(Get(id).ok()) << "it is being read";
  EXPECT_FALSE(Get(id)->has_expire_time());
  reader.reset();
  EXPECT_EQ(ReasonOf(Get(id).status()), "GENERATION_EXPIRED");
  EXPECT_TRUE(samples_.Reserve(int64_t{64} << 20).ok()) << "its memory is free again";
}

TEST_F(GenerationsTest, AResultIsKeptForTheStatedTime) {
  Finish(Named("a"));
  const v1::Generation kept = *Get("a");
  EXPECT_EQ(kept.expire_time().seconds() - kept.end_time().seconds(), 600);
  EXPECT_TRUE(samples_.Reserve(int64_t{64} << 20).ok()) << "it counts as a result now";
  clock_.Advance(absl::Minutes(10) - absl::Nanoseconds(1));
  EXPECT_TRUE(Get("a").ok());
  clock_.Advance(absl::Nanoseconds(1));
  const absl::Status expired = Get("a").status();
  EXPECT_TRUE(absl::IsNotFound(expired));
  EXPECT_EQ(ReasonOf(expired), "GENERATION_EXPIRED");
  EXPECT_EQ(GetResource(expired)->name, "generations/a");
  EXPECT_EQ(ReasonOf(Watch("a").status()), "GENERATION_EXPIRED");
  EXPECT_EQ(ReasonOf(Get("never").status()), "GENERATION_NOT_FOUND");
  EXPECT_THAT(Listed(), IsEmpty());
}

TEST_F(GenerationsTest, WhatHasExpiredIsFreedWithoutACall) {
  auto reader = *Generate(Named("a"));
  std::vector<float> pixels(3 * 8 * 8);
  absl::Notification freed;
  auto image = Image(0);
  image.sample = at::from_blob(pixels.data(), {3, 8, 8}, [&](void*) { freed.Notify(); });
  sink().OnImage(std::move(image));
  sink().OnFinished(absl::OkStatus());
  sinks_.clear();
  reader.reset();
  EXPECT_FALSE(freed.HasBeenNotified());
  clock_.AwaitDeadline();
  clock_.Advance(absl::Minutes(10));
  freed.WaitForNotification();
}

TEST_F(GenerationsTest, TheEndOfAGenerationIsCountedWithoutReaders) {
  ASSERT_TRUE(Generate(Detached("a")).ok());  // and its caller leaves
  sink().OnImage(Image(0));
  sink().OnFinished(absl::InternalError("the output is not finite"));
  const MetricsPage page(prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect()));
  EXPECT_EQ(page.Sum("denoised_generations_total", {{"outcome", "INTERNAL"}}), 1);
  EXPECT_EQ(page.Sum("denoised_images_total"), 1);
}

TEST_F(GenerationsTest, TheEndOfAGenerationThatWasReplacedIsCounted) {
  (*Generate(Named("a"))).reset();  // its caller leaves, which cancels it
  const auto second = *Generate(Named("a"));
  sinks_[0]->OnFinished(absl::CancelledError("cancelled"));
  const MetricsPage page(prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect()));
  EXPECT_EQ(page.Sum("denoised_generations_total", {{"outcome", "CANCELLED"}}), 1);
}

TEST_F(GenerationsTest, ARefusedGenerationHasNoEndToCount) {
  refusal_ = absl::UnavailableError("the queue is full");
  EXPECT_EQ(Generate(Named("a")).status(), refusal_);
  const MetricsPage page(prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect()));
  EXPECT_EQ(page.Sum("denoised_generations_total"), 0);
}

TEST_F(GenerationsTest, AResultExpiresWhileItIsReadButItsReaderKeepsIt) {
  Finish(Named("a"));
  const auto reader = *Watch("a");
  clock_.Advance(absl::Minutes(10));
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_EXPIRED");
  EXPECT_EQ(ReasonOf(Watch("a").status()), "GENERATION_EXPIRED");
  std::vector<GenerationLog::Event> events;
  while (auto event = reader->Next()) events.push_back(*std::move(event));
  EXPECT_THAT(events, SizeIs(3));
}

TEST_F(GenerationsTest, AnExpiredIdCanBeUsedAgain) {
  Finish(Named("a"));
  clock_.Advance(absl::Minutes(10));
  Finish(Named("a", /*steps=*/3));
  EXPECT_EQ(Get("a")->state(), v1::Generation::SUCCEEDED);
}

// The limit is 1 MiB, of which each takes somewhat more than 64 KiB.
TEST_F(GenerationsTest, TheOldestResultsMakeRoomForNewOnes) {
  for (int i = 0; i < 20; ++i) {
    Finish(Named(absl::StrCat("g", i)));
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_THAT(Listed(), SizeIs(15));
  EXPECT_EQ(ReasonOf(Get("g4").status()), "GENERATION_EXPIRED");
  EXPECT_TRUE(Get("g5").ok());
  EXPECT_TRUE(Get("g19").ok());
}

TEST_F(GenerationsTest, ResultsThatAreReadLeaveRoomForOthers) {
  std::vector<std::unique_ptr<Generations::Reader>> readers;
  for (int i = 0; i < 15; ++i) {
    Finish(Named(absl::StrCat("g", i)));
    readers.push_back(*Watch(absl::StrCat("g", i)));
  }
  Finish(Named("late"));
  EXPECT_TRUE(Get("late").ok());
  readers.clear();  // too much to keep now: the oldest goes
  EXPECT_EQ(ReasonOf(Get("g0").status()), "GENERATION_EXPIRED");
  EXPECT_TRUE(Get("late").ok());
}

TEST_F(GenerationsTest, AResultCannotBeReadWithoutRoomForIt) {
  Finish(Named("a"));
  const auto all = samples_.Reserve(int64_t{64} << 20);
  ASSERT_TRUE(all.ok());
  EXPECT_TRUE(absl::IsUnavailable(Watch("a").status()));
  EXPECT_TRUE(Get("a").ok());
}

TEST_F(GenerationsTest, ARefusedRetryLeavesTheEarlierGenerationInPlace) {
  Finish(Named("a"), absl::InternalError("broken"));
  refusal_ = absl::UnavailableError("the queue is full");
  EXPECT_EQ(Generate(Named("a")).status(), refusal_);
  EXPECT_EQ(Get("a")->state(), v1::Generation::FAILED);
  refusal_ = absl::OkStatus();
  const auto retry = *Generate(Named("a"));
  EXPECT_EQ(Get("a")->state(), v1::Generation::QUEUED);
}

TEST_F(GenerationsTest, DetachedGenerationsAreLimitedUntilTheyEnd) {
  for (const char* id : {"a", "b"}) ASSERT_TRUE(Generate(Detached(id)).ok());
  const absl::Status refused = Generate(Detached("c")).status();
  EXPECT_TRUE(absl::IsUnavailable(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--max-detached"));
  EXPECT_TRUE(GetRetryDelay(refused).has_value());
  EXPECT_TRUE(Generate(Named("d")).ok());
  sinks_[0]->OnFinished(absl::OkStatus());
  refusal_ = absl::UnavailableError("the queue is full");
  EXPECT_FALSE(Generate(Detached("c")).ok());
  refusal_ = absl::OkStatus();
  EXPECT_TRUE(Generate(Detached("c")).ok());
}

TEST_F(GenerationsTest, RemembersAsManyExpiredNamesAsItMay) {
  for (const char* id : {"a", "b", "c", "d"}) Finish(Named(id));
  clock_.Advance(absl::Minutes(10));
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get("b").status()), "GENERATION_EXPIRED");
}

TEST_F(GenerationsTest, AWatcherResumesAfterANumber) {
  const auto first = *Generate(Named("a"));
  sink().OnStarted(absl::ZeroDuration());
  sink().OnImage(Image(0));
  const auto watcher = *Watch("a", /*resume_after=*/1);
  const auto event = watcher->Next();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->sequence, 2);
  EXPECT_FALSE(watcher->Next());
  for (const int64_t out_of_range : {int64_t{-7}, int64_t{3}}) {
    const absl::Status status = Watch("a", out_of_range).status();
    ASSERT_THAT(GetFieldViolations(status), SizeIs(1)) << status;
    EXPECT_EQ(GetFieldViolations(status)[0].field, "resume_after");
    EXPECT_THAT(GetFieldViolations(status)[0].description, HasSubstr("between 0 and 2"));
  }
}

TEST_F(GenerationsTest, CancellingEndsItForEveryReader) {
  const auto reader = *Generate(Detached("a"));
  EXPECT_TRUE(Cancel("a").ok());
  EXPECT_THAT(cancelled_, ElementsAre(0));
  EXPECT_EQ(Get("a")->state(), v1::Generation::CANCELLING);
  sink().OnFinished(absl::CancelledError("cancelled"));
  EXPECT_EQ(Get("a")->state(), v1::Generation::CANCELLED);
  EXPECT_EQ(Cancel("a").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(Cancel("never")), "GENERATION_NOT_FOUND");
}

TEST_F(GenerationsTest, PausingTakesItFromTheEngineAndKeepsIt) {
  Request request = Named("a");
  request.set_accept_handover(true);
  auto reader = *Generate(request);
  auto pause = *Pause("a");
  EXPECT_THAT(paused_, ElementsAre(0));
  EXPECT_EQ(Get("a")->state(), v1::Generation::QUEUED) << "the engine has not let go";
  EXPECT_EQ(Cancel("a").code(), absl::StatusCode::kFailedPrecondition) << "nor does it twice";
  ASSERT_TRUE(sink().AcceptsHandover());
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  EXPECT_EQ(Get("a")->state(), v1::Generation::PAUSED);
  reader.reset();
  pause.reset();
  EXPECT_THAT(cancelled_, IsEmpty());
  EXPECT_EQ(Get("a")->state(), v1::Generation::PAUSED);
  EXPECT_TRUE(Pause("a").ok()) << "its token can be asked for again";
  EXPECT_THAT(paused_, SizeIs(1)) << "which is nothing to the engine";
}

TEST_F(GenerationsTest, ARetryOfAPausedGenerationGetsThePauseAndNeitherUndoesNorRepeatsIt) {
  Request request = Named("a");
  request.set_accept_handover(true);
  const auto first = *Generate(request);
  const auto pause = *Pause("a");
  sink().OnImage(Image(0));
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  const auto retry = *Generate(request);
  EXPECT_THAT(sinks_, SizeIs(1));
  std::vector<GenerationLog::Event> events;
  while (auto event = retry->Next()) events.push_back(*std::move(event));
  ASSERT_THAT(events, SizeIs(4));
  EXPECT_TRUE(std::holds_alternative<ImageUpdate>(events[1].what));
  EXPECT_TRUE(std::holds_alternative<GenerationLog::Handover>(events[2].what));
  EXPECT_EQ(retry->status(), PausedError());
  EXPECT_EQ(ReasonOf(Generate(Named("a", /*steps=*/3)).status()), "REQUEST_ID_IN_USE");
}

TEST_F(GenerationsTest, APausedGenerationIsReplacedOnlyOnceTheEngineHasTakenItsContinuation) {
  Request request = Named("a");
  request.set_accept_handover(true);
  const auto first = *Generate(request);
  const auto pause = *Pause("a");
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  Caller caller = CallerWithTokenOf(first->accepted());
  const auto start = [&] {
    auto resolved = ResolveRequest(request, FindModel(request.model(), models_), {}, /*seed=*/1);
    return generations_.Start(request, DigestOf(request), *std::move(resolved), caller).status();
  };
  refusal_ = absl::UnavailableError("the queue is full");
  EXPECT_EQ(start(), refusal_);
  EXPECT_EQ(Get("a")->state(), v1::Generation::PAUSED);
  refusal_ = absl::OkStatus();
  EXPECT_TRUE(start().ok());
  EXPECT_NE(Get("a")->state(), v1::Generation::PAUSED);
}

// Whatever else has happened to either of them: events of waiting are no work.
TEST_F(GenerationsTest, OfTwoPausesTheOneWithMoreWorkIsContinued) {
  Request request = Named("a");
  request.set_accept_handover(true);
  const auto first = *Generate(request);
  for (int position = 20; position > 0; --position) sink().OnQueued({.position = position});
  const auto pause = *Pause("a");
  sink().OnHandover({{0, {.evaluations_done = 1, .slots = at::zeros({1, 3, 8, 8})}}});
  sink().OnFinished(PausedError());
  Caller caller = CallerWithTokenOf(first->accepted());
  EXPECT_NE(*generations_.Join("a", DigestOf(request), caller), nullptr) << "less would be undone";
  for (const int64_t evaluations : {1, 2}) {
    caller.presented->evaluations_done = evaluations;
    EXPECT_EQ(*generations_.Join("a", DigestOf(request), caller), nullptr) << evaluations;
  }
}

TEST_F(GenerationsTest, APauseThatIsCancelledIsForgotten) {
  Request request = Named("a");
  request.set_accept_handover(true);
  const auto first = *Generate(request);
  {
    const auto pause = *Pause("a");
    sink().OnHandover({});
    sink().OnFinished(PausedError());
  }
  EXPECT_TRUE(Cancel("a").ok());
  EXPECT_EQ(Get("a").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Generate(Named("a", /*steps=*/3)).ok()) << "the id is free";
}

// The limit is 1 MiB.
TEST_F(GenerationsTest, TheStatesOfPausesCountAsResultsDo) {
  for (const char* id : {"a", "b"}) {
    Request request = Named(id);
    request.set_accept_handover(true);
    const auto reader = *Generate(request);
    const auto pause = *Pause(id);
    sink().OnHandover({{0, {.evaluations_done = 1, .slots = at::zeros({1, 3, 224, 224})}}});
    sink().OnFinished(PausedError());
  }
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_EXPIRED");
  EXPECT_EQ(Get("b")->state(), v1::Generation::PAUSED);
}

// The limit is 1 MiB.
TEST_F(GenerationsTest, APauseThatIsOlderMakesRoomForAResultAlthoughItExpiresLater) {
  Request request = Named("paused");
  request.set_accept_handover(true);
  {
    const auto reader = *Generate(request);
    const auto pause = *Pause("paused");
    sink().OnHandover({{0, {.evaluations_done = 1, .slots = at::zeros({1, 3, 256, 256})}}});
    sink().OnFinished(PausedError());
  }
  clock_.Advance(absl::Seconds(1));
  for (const char* id : {"a", "b", "c"}) Finish(Named(id));
  EXPECT_EQ(ReasonOf(Get("paused").status()), "GENERATION_EXPIRED");
  EXPECT_TRUE(Get("a").ok());
}

TEST_F(GenerationsTest, EveryReaderReservesRoomForTheTokenThatItMayGet) {
  Request request = Named("a");
  request.set_accept_handover(true);
  request.set_count(16);
  const auto first = *Generate(request);
  const int64_t picture = SampleBytes({.channels = 3, .height = 8, .width = 8});
  const int64_t token = 16 * picture;  // at least: the sampler has one state slot
  const auto with_room_for = [&](int64_t event_bytes) {
    return *samples_.Reserve(FreeBytes() - kCallBytes - event_bytes);
  };
  {
    const auto rest = with_room_for(picture);
    EXPECT_TRUE(absl::IsUnavailable(Watch("a").status()));
    EXPECT_TRUE(absl::IsUnavailable(Generate(request).status())) << "a retry joins it";
    EXPECT_TRUE(absl::IsUnavailable(Pause("a").status()));
  }
  {
    const auto rest = with_room_for(2 * token);
    EXPECT_TRUE(Watch("a").ok());
    EXPECT_TRUE(Generate(request).ok());
    EXPECT_TRUE(Pause("a").ok());
  }
}

TEST_F(GenerationsTest, ReadersOfWhatHasNoTokenReserveRoomForAPictureOnly) {
  Request request = Named("a");
  request.set_count(16);
  const auto first = *Generate(request);
  const int64_t picture = SampleBytes({.channels = 3, .height = 8, .width = 8});
  const auto rest = *samples_.Reserve(FreeBytes() - kCallBytes - picture);
  EXPECT_TRUE(Watch("a").ok());
}

TEST_F(GenerationsTest, WhatIsBeingCancelledCannotBePaused) {
  Request request = Detached("a");
  request.set_accept_handover(true);
  const auto reader = *Generate(request);
  ASSERT_TRUE(Cancel("a").ok());
  EXPECT_EQ(Pause("a").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(paused_, IsEmpty());
}

TEST_F(GenerationsTest, APauseThatIsRequestedOutlastsTheLastReader) {
  Request request = Named("a");
  request.set_accept_handover(true);
  auto reader = *Generate(request);
  auto pause = *Pause("a");
  reader.reset();
  pause.reset();
  EXPECT_THAT(cancelled_, IsEmpty());
  sink().OnHandover({});
  sink().OnFinished(PausedError());
  EXPECT_EQ((*Pause("a"))->Describe().state(), v1::Generation::PAUSED);
}

TEST_F(GenerationsTest, AFailureSaysNothingOfTheInside) {
  const auto reader = *Generate(Named("a"));
  sink().OnFinished(absl::InternalError("/secret/path"));
  EXPECT_EQ(Get("a")->state(), v1::Generation::FAILED);
  EXPECT_THAT(Get("a")->error(), AllOf(HasSubstr("internal error"), Not(HasSubstr("secret"))));
}

TEST_F(GenerationsTest, TheyAreListedPageByPageLatestFirst) {
  for (const char* id : {"a", "b", "c"}) Finish(Named(id));
  const auto all = Listed();
  EXPECT_THAT(all, ElementsAre("generations/c", "generations/b", "generations/a"));
  EXPECT_EQ(Listed(/*page_size=*/1), all);
  EXPECT_EQ(Listed(/*page_size=*/2), all);
  v1::ListGenerationsRequest bad;
  bad.set_page_size(-1);
  bad.set_page_token("no token");
  EXPECT_THAT(GetFieldViolations(generations_.List(bad, Anyone()).status()), SizeIs(2));
}

TEST_F(GenerationsTest, NamesAreChecked) {
  for (const char* id : {"", "a b", "-a", "a/b", "\xff"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Get(id).status())) << id;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Get(std::string(65, 'a')).status()));
  EXPECT_TRUE(absl::IsNotFound(Get(std::string(64, 'a')).status()));
  v1::GetGenerationRequest request;
  request.set_name("models/a");
  EXPECT_TRUE(absl::IsInvalidArgument(generations_.Get(request, Anyone()).status()));
}

TEST_F(GenerationsTest, TenantsHaveGenerationsOfTheirOwn) {
  identity_ = IdentityWith("acme", {Scope::kGenerate});
  const auto acme = *Generate(Named("a"));
  EXPECT_EQ(submitted_.back().name, "tenants/acme/generations/a");
  EXPECT_EQ(submitted_.back().tenant, "acme");
  EXPECT_EQ(acme->name(), "generations/a");

  identity_ = IdentityWith("globex", {Scope::kGenerate});
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Cancel("a")), "GENERATION_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Watch("a").status()), "GENERATION_NOT_FOUND");
  EXPECT_EQ(generations_.List({}, identity_)->generations_size(), 0);
  const auto globex = *Generate(Named("a", /*steps=*/3));
  EXPECT_EQ(sinks_.size(), 2u) << "it did not join that of another tenant";

  identity_ = IdentityWith("ops", {Scope::kAdmin});
  const auto all = *generations_.List({}, identity_);
  ASSERT_EQ(all.generations_size(), 2);
  EXPECT_EQ(all.generations(0).name(), "tenants/globex/generations/a");
  EXPECT_EQ(all.generations(1).accepted().generation(), "tenants/acme/generations/a");
}

TEST_F(GenerationsTest, WhatAnotherTenantsResultWasIsNotSaidAfterItsEndEither) {
  identity_ = IdentityWith("acme", {Scope::kGenerate});
  auto reader = *Generate(Named("a"));
  sink().OnFinished(absl::OkStatus());
  reader.reset();
  clock_.Advance(absl::Minutes(11));
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_EXPIRED");
  identity_ = IdentityWith("globex", {Scope::kGenerate});
  EXPECT_EQ(ReasonOf(Get("a").status()), "GENERATION_NOT_FOUND");
}

}  // namespace
}  // namespace denoise
