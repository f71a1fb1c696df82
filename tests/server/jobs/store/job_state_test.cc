#include "server/jobs/store/job_state.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace denoise {
namespace {

using denoised::v1::TrainingJob;
using enum JobAction;

constexpr JobAction kActions[] = {kPause,     kResume,  kCancel,  kStart, kStop, kDiskFull,
                                  kRoomAgain, kRequeue, kSucceed, kFail,  kWait};

const JobStatus kQueued{.state = TrainingJob::QUEUED};
const JobStatus kRunning{.state = TrainingJob::RUNNING};
const JobStatus kPausing{.state = TrainingJob::RUNNING, .pause_requested = true};
const JobStatus kPaused{.state = TrainingJob::PAUSED};
const JobStatus kOutOfRoom{.state = TrainingJob::PAUSED, .pause_end = PauseEnd::kRoomOnDisk};
const JobStatus kCancelling{.state = TrainingJob::CANCELLING};
const JobStatus kSucceeded{.state = TrainingJob::SUCCEEDED};
const JobStatus kFailed{.state = TrainingJob::FAILED};
const JobStatus kCancelled{.state = TrainingJob::CANCELLED};

struct Row {
  std::string name;
  JobStatus from;
  std::map<JobAction, JobStatus> to;  // every other action is refused
};

std::vector<Row> Table() {
  return {
      {"queued",
       kQueued,
       {{kPause, kPaused}, {kCancel, kCancelled}, {kStart, kRunning}, {kFail, kFailed}}},
      {"running",
       kRunning,
       {{kPause, kPausing},
        {kCancel, kCancelling},
        {kStart, kRunning},
        {kStop, kRunning},
        {kDiskFull, kOutOfRoom},
        {kRequeue, kQueued},
        {kSucceed, kSucceeded},
        {kFail, kFailed},
        {kWait, kRunning}}},
      {"pausing",
       kPausing,
       {{kPause, kPausing},
        {kResume, kRunning},
        {kCancel, kCancelling},
        {kStart, kPausing},
        {kStop, kPaused},
        {kDiskFull, kPaused},
        {kRequeue, kPaused},
        {kSucceed, kSucceeded},
        {kFail, kFailed},
        {kWait, kPausing}}},
      {"paused", kPaused, {{kPause, kPaused}, {kResume, kQueued}, {kCancel, kCancelled}}},
      {"out of room",
       kOutOfRoom,
       {{kPause, kPaused}, {kResume, kQueued}, {kCancel, kCancelled}, {kRoomAgain, kQueued}}},
      {"cancelling",
       kCancelling,
       {{kCancel, kCancelling},
        {kStart, kCancelling},
        {kStop, kCancelled},
        {kDiskFull, kCancelled},
        {kRequeue, kCancelled},
        {kSucceed, kCancelled},
        {kFail, kCancelled},
        {kWait, kCancelling}}},
      {"succeeded", kSucceeded, {}},
      {"failed", kFailed, {}},
      {"cancelled", kCancelled, {}},
  };
}

TEST(JobState, EveryActionInEveryStateIsInTheTable) {
  for (const Row& row : Table()) {
    for (const JobAction action : kActions) {
      SCOPED_TRACE(row.name + ", action " + std::to_string(static_cast<int>(action)));
      const auto next = NextStatus(row.from, action, "");
      const auto expected = row.to.find(action);
      if (expected == row.to.end()) {
        EXPECT_EQ(next.status().code(), absl::StatusCode::kFailedPrecondition);
      } else {
        ASSERT_TRUE(next.ok()) << next.status();
        EXPECT_EQ(*next, expected->second);
      }
    }
  }
}

TEST(JobState, ReasonsComeWithTheStateTheyExplain) {
  EXPECT_EQ(NextStatus(kRunning, kFail, "the loss is not finite")->reason,
            "the loss is not finite");
  JobStatus paused = kOutOfRoom;
  paused.reason = "the disk is full";
  EXPECT_EQ(NextStatus(paused, kResume, "")->reason, "");
}

TEST(JobState, ARunningJobSaysWhatItWaitsForUntilItStops) {
  const JobStatus waiting = *NextStatus(kPausing, kWait, "waits for a rank");
  EXPECT_EQ(waiting.reason, "waits for a rank");
  EXPECT_TRUE(waiting.pause_requested);
  EXPECT_EQ(*NextStatus(waiting, kWait, ""), kPausing);
  EXPECT_EQ(*NextStatus(waiting, kStop, ""), kPaused);
}

TEST(JobState, RefusalsAreInWordsForACaller) {
  EXPECT_EQ(NextStatus(kSucceeded, kCancel, "").status().message(),
            "a job that is SUCCEEDED cannot be cancelled");
  EXPECT_EQ(NextStatus(kCancelling, kPause, "").status().message(),
            "a job that is CANCELLING cannot be paused");
}

TEST(JobState, ThreeStatesAreFinal) {
  for (const Row& row : Table()) EXPECT_EQ(IsOver(row.from.state), row.to.empty()) << row.name;
}

}  // namespace
}  // namespace denoise
