#include "server/jobs/runs/run_recorder.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tests/server/jobs/store/state_testing.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;
using ::testing::ElementsAre;

class RunRecorderTest : public ::testing::Test {
 protected:
  RunRecorderTest() {
    JobStore::NewJob job;
    job.id = *open_.jobs.ReserveId();
    job.max_waiting = 1;
    EXPECT_TRUE(open_.jobs.Create(job).ok());
    std::filesystem::create_directories(open_.state.job(1));
    checkpoints_ =
        std::make_shared<CheckpointFolder>(*CheckpointFolder::Open(open_.state.checkpoints(1)));
    recorder_ = std::make_unique<RunRecorder>(RunRecorder::Destination{.store = &open_.jobs,
                                                                       .checkpoints = checkpoints_,
                                                                       .job = 1,
                                                                       .keep_checkpoints = 2,
                                                                       .ema_decays = {0.9, 0.99}},
                                              [this] { ++written_; });
  }

  std::vector<TrainingEvent> Events() {
    auto events = open_.jobs.EventsAfter(1, 1, 100)->events;  // all but the first, of the state
    return events;
  }
  // Keeps the recorder busy until the promise is kept.
  std::promise<void> Block() {
    std::promise<void> promise;
    recorder_->WriteLater([gate = promise.get_future().share()]() -> absl::StatusOr<TrainingEvent> {
      gate.wait();
      return Notice("gate");
    });
    return promise;
  }
  static TrainingEvent Notice(const std::string& text) {
    TrainingEvent event;
    event.set_notice(text);
    return event;
  }
  static TrainingSnapshot Snapshot(int64_t step) {
    return {.step = step, .tensors = {{"weights.w", at::ones({2})}}, .state = "{}"};
  }

  TempDir temp_;
  OpenState open_{temp_.path() / "state"};
  std::shared_ptr<CheckpointFolder> checkpoints_;
  std::atomic<int> written_ = 0;
  std::unique_ptr<RunRecorder> recorder_;
};

TEST_F(RunRecorderTest, WritesInTheOrderItWasTold) {
  recorder_->Write(Notice("first"));
  recorder_->WriteLater([] { return Notice("second"); });
  recorder_->WriteCheckpoint(Snapshot(500));
  recorder_->Write(Notice("last"));
  recorder_->Flush();

  const auto events = Events();
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].notice(), "first");
  EXPECT_EQ(events[1].notice(), "second");
  EXPECT_EQ(events[2].checkpoint().name(), "trainingJobs/1/checkpoints/500");
  EXPECT_GT(events[2].checkpoint().size_bytes(), 0);
  EXPECT_THAT(events[2].checkpoint().ema_decays(), ElementsAre(0.9, 0.99));
  EXPECT_EQ(events[3].notice(), "last");
  EXPECT_EQ(checkpoints_->LoadNewest()->snapshot.step, 500);
}

TEST_F(RunRecorderTest, SaysWhatWaitsAndWhenItIsWritten) {
  std::promise<void> gate = Block();
  recorder_->WriteCheckpoint(Snapshot(1));
  EXPECT_EQ(recorder_->waiting(), 2u);
  EXPECT_TRUE(recorder_->checkpoint_waiting());

  gate.set_value();
  recorder_->Flush();

  EXPECT_EQ(recorder_->waiting(), 0u);
  EXPECT_FALSE(recorder_->checkpoint_waiting());
  recorder_.reset();
  EXPECT_EQ(written_, 2);
}

TEST_F(RunRecorderTest, KeepsTheNewestCheckpoints) {
  for (int step = 1; step <= 4; ++step) recorder_->WriteCheckpoint(Snapshot(step));
  recorder_->Flush();

  ASSERT_EQ(checkpoints_->List()->size(), 2u);
  EXPECT_EQ(checkpoints_->List()->front().step, 4);
  EXPECT_EQ(Events().size(), 4u);
}

TEST_F(RunRecorderTest, NothingIsWrittenAfterAFailure) {
  std::promise<void> gate = Block();
  recorder_->WriteLater([]() -> absl::StatusOr<TrainingEvent> {
    return absl::ResourceExhaustedError("the server's disk is full");
  });
  recorder_->Write(Notice("was waiting"));
  gate.set_value();
  recorder_->Flush();
  recorder_->Write(Notice("came later"));
  recorder_->Flush();

  EXPECT_TRUE(absl::IsResourceExhausted(recorder_->status()));
  ASSERT_EQ(Events().size(), 1u);
  EXPECT_EQ(Events()[0].notice(), "gate");
}

TEST_F(RunRecorderTest, WhatThrowsIsAFailure) {
  recorder_->WriteLater([]() -> absl::StatusOr<TrainingEvent> { throw std::runtime_error("x"); });
  recorder_->Flush();

  EXPECT_EQ(recorder_->status().code(), absl::StatusCode::kInternal);
}

TEST_F(RunRecorderTest, ItsEndWaitsForWhatIsLeft) {
  std::promise<void> gate = Block();
  recorder_->Write(Notice("last"));
  gate.set_value();
  recorder_.reset();

  EXPECT_EQ(Events().back().notice(), "last");
}

}  // namespace
}  // namespace denoise
