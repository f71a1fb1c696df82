// A training job on a network that is quick to train, stopped and killed wherever that can be.
#include "server/jobs/runs/training_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/data/data_set.h"
#include "core/evaluation/untrained_features.h"
#include "core/ranks/rendezvous.h"
#include "core/sampling/samplers/compile_plan.h"
#include "server/jobs/runs/run_resume.h"
#include "server/jobs/store/job_tables.h"
#include "tests/core/train/trainer_testing.h"
#include "tests/server/jobs/store/state_testing.h"

namespace denoise {
namespace {

using denoised::v1::TrainingEvent;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMaxSteps = 9;
constexpr RunSchedule kSchedule = {
    .progress_every = 2, .grid_every = 4, .evaluation_every = 9, .checkpoint_every = 3};

// Gray squares, lighter and lighter.
class Squares : public DataSet {
 public:
  int64_t size() const override { return 8; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t) const override { return 0; }
  std::string name(int64_t i) const override { return std::to_string(i); }
  absl::StatusOr<Image> Read(int64_t i) const override {
    return Image{4, 4, 1, std::vector<uint8_t>(16, static_cast<uint8_t>(i * 30))};
  }

 private:
  const std::vector<std::string> classes_;
};

TrainingOptions Options() {
  TrainingOptions options;
  options.max_steps = kMaxSteps;
  options.batch_size = 4;
  options.micro_batch_size = 2;
  options.seed = 3;
  options.ema_decays = {0.9};
  options.max_non_finite_steps = 2;
  return options;
}

// A job in its state folder, and its run.
class JobOnDisk {
 public:
  explicit JobOnDisk(const std::filesystem::path& path) : open_(path) {
    if (*open_.jobs.Exists(1)) return;
    JobStore::NewJob job;
    job.id = *open_.jobs.ReserveId();
    job.max_waiting = 1;
    EXPECT_TRUE(open_.jobs.Create(job).ok());
    EXPECT_TRUE(open_.jobs.Apply(1, JobAction::kStart).ok());
    std::filesystem::create_directories(open_.state.job(1));
  }
  ~JobOnDisk() { recorder_.reset(); }

  // As the server does when it starts.
  void Load(const TinyNetworkOptions& network = {}, RunSchedule schedule = kSchedule,
            absl::Duration max_duration = absl::InfiniteDuration()) {
    task_.reset();
    recorder_.reset();
    auto checkpoints =
        std::make_shared<CheckpointFolder>(*CheckpointFolder::Open(open_.state.checkpoints(1)));
    auto trainer = *Trainer::Create(TinySetup(network, Options()));
    trainer_ = trainer.get();
    const RunFacts facts = {
        .max_steps = kMaxSteps, .batch_size = 4, .pictures = 1000, .max_duration = max_duration};
    RunProgress progress(facts);
    const auto written = ResumeRun(
        {.store = &open_.jobs, .checkpoints = checkpoints.get(), .job = 1, .ema_decays = {0.9}},
        *trainer, progress);
    ASSERT_TRUE(written.ok()) << written.status();
    recorder_ = std::make_unique<RunRecorder>(RunRecorder::Destination{.store = &open_.jobs,
                                                                       .checkpoints = checkpoints,
                                                                       .job = 1,
                                                                       .keep_checkpoints = 2,
                                                                       .ema_decays = {0.9}},
                                              [] {});
    SamplerOptions sampler;
    sampler.steps = 2;
    const auto plan =
        std::make_shared<const SamplerPlan>(*CompilePlan(*Schedule::Create(VpOptions{}), sampler));
    ModelEvaluation::Setup evaluation;
    evaluation.plan = plan;
    evaluation.data = std::make_shared<Squares>();
    evaluation.features = std::make_shared<PixelFeatures>();
    evaluation.options = {
        .sample_count = 4, .nearest_neighbours = 1, .batch_rows = 2, .sheet_samples = 2};
    ended_ = false;
    task_ = std::make_unique<TrainingTask>(
        TrainingTask::Setup{.trainer = std::move(trainer),
                            .model = "models/tiny",
                            .facts = facts,
                            .progress = progress,
                            .schedule = schedule,
                            .written = *written,
                            .grid = {.plan = plan, .conditionings = {{}}, .count = 2},
                            .evaluation = evaluation,
                            .max_rows = 2,
                            .clock = &open_.clock},
        recorder_.get(), /*observer=*/nullptr, [this] { ended_ = true; });
  }

  // At most `slices` of them. False: the run has ended.
  bool Run(int slices = std::numeric_limits<int>::max()) {
    for (int slice = 0; slice < slices; ++slice) {
      const DeviceTask::Outcome outcome = task_->RunSlice();
      EXPECT_EQ(outcome == DeviceTask::Outcome::kDone, ended_);
      if (ended_) return false;
      if (outcome == DeviceTask::Outcome::kIdle) recorder_->Flush();
    }
    return true;
  }

  std::vector<TrainingEvent> Events() {
    recorder_->Flush();
    return open_.jobs.EventsAfter(1, 2, 1000)->events;  // but those of its first states
  }
  // What happened at which step, in order: "progress 2".
  std::vector<std::string> Story() {
    std::vector<std::string> story;
    for (const TrainingEvent& event : Events()) {
      if (event.has_progress())
        story.push_back("progress " + std::to_string(event.progress().step()));
      if (event.has_sample_grid())
        story.push_back("grid " + std::to_string(event.sample_grid().step()));
      if (event.has_evaluation()) {
        story.push_back("evaluation " + std::to_string(event.evaluation().step()));
      }
      if (event.has_checkpoint()) {
        story.push_back("checkpoint " + std::to_string(event.checkpoint().step()));
      }
      if (!event.notice().empty()) story.push_back(event.notice());
    }
    return story;
  }

  OpenState open_;
  std::unique_ptr<RunRecorder> recorder_;
  std::unique_ptr<TrainingTask> task_;
  Trainer* trainer_ = nullptr;  // the task's
  bool ended_ = false;
};

// What a run leaves behind, but for times.
struct Outcome {
  StateDict weights;
  std::map<std::string, std::string> events;  // by kind and step

  explicit Outcome(JobOnDisk& job) : weights(*job.trainer_->EmaWeights(0)) {
    for (TrainingEvent event : job.Events()) {
      event.clear_sequence();
      event.clear_time();
      if (event.has_progress()) {
        event.mutable_progress()->clear_time_left();
        event.mutable_progress()->clear_pictures_per_second();
      }
      if (event.has_checkpoint()) event.mutable_checkpoint()->clear_create_time();
      if (event.has_checkpoint()) event.mutable_checkpoint()->clear_size_bytes();
      const std::string key =
          std::to_string(event.event_case()) + " " + std::to_string(StepOf(event).value_or(0));
      EXPECT_TRUE(events.emplace(key, event.SerializeAsString()).second) << key;
    }
  }
  bool operator==(const Outcome& other) const {
    return BitEqual(weights, other.weights) && events == other.events;
  }
};

class TrainingTaskTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const std::string& name = "state") const {
    return temp_.path() / name;
  }

  TempDir temp_;
};

TEST_F(TrainingTaskTest, DoesAfterEachStepWhatIsDue) {
  JobOnDisk job(path());
  job.Load();
  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end(), (RunEnd{RunEnd::Kind::kFinished, ""}));
  EXPECT_THAT(job.Story(), ElementsAre("progress 2", "checkpoint 3", "progress 4", "grid 4",
                                       "progress 6", "checkpoint 6", "progress 8", "grid 8",
                                       "progress 9", "grid 9", "evaluation 9", "checkpoint 9"));
  const auto record = *job.open_.jobs.Get(1);
  EXPECT_EQ(record.steps_done(), kMaxSteps);
  EXPECT_EQ(record.latest_checkpoint(), "trainingJobs/1/checkpoints/9");
  EXPECT_EQ(record.evaluation_result().samples(), 4);
  EXPECT_FALSE(record.evaluation_result().nearest_neighbours_sheet().data().empty());
}

// The invariant of it all. Killed after every slice in turn, with everything written so far, the
// run goes on to the same weights and the same events, none lost and none told twice.
TEST_F(TrainingTaskTest, KilledAnywhereItEndsAsIfNothingHadHappened) {
  JobOnDisk undisturbed(path("undisturbed"));
  undisturbed.Load();
  undisturbed.Run();
  const Outcome expected(undisturbed);

  JobOnDisk job(path());
  job.Load();
  for (int kill = 0; job.Run(1); ++kill) {
    job.recorder_->Flush();
    const auto copy = path(std::to_string(kill));
    CopyState(path(), copy);
    JobOnDisk killed(copy);
    killed.Load();
    killed.Run();
    EXPECT_TRUE(Outcome(killed) == expected) << "after slice " << kill;
    std::filesystem::remove_all(copy);
  }
}

TEST_F(TrainingTaskTest, StoppedAnywhereItSavesAndGoesOn) {
  JobOnDisk undisturbed(path("undisturbed"));
  undisturbed.Load({}, {.progress_every = 2, .grid_every = 4});
  undisturbed.Run();
  const Outcome expected(undisturbed);

  for (int slices = 0; slices < 24; slices += 3) {
    JobOnDisk job(path(std::to_string(slices)));
    job.Load({}, {.progress_every = 2, .grid_every = 4});
    job.Run(slices);
    const int64_t steps = job.trainer_->steps_done();
    job.task_->RequestStop(StopRequest::kSave);
    EXPECT_FALSE(job.Run());
    EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kStopped);
    job.Load({}, {.progress_every = 2, .grid_every = 4});
    EXPECT_EQ(job.trainer_->steps_done(), steps);
    job.Run();
    EXPECT_TRUE(BitEqual(Outcome(job).weights, expected.weights)) << slices;
    for (const auto& [key, event] : expected.events) {
      EXPECT_EQ(Outcome(job).events[key], event) << slices << " " << key;
    }
  }
}

TEST_F(TrainingTaskTest, OneThatIsDiscardedWritesNothingMore) {
  JobOnDisk job(path());
  job.Load();
  job.Run(4);
  job.task_->RequestStop(StopRequest::kDiscard);

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kStopped);
  EXPECT_THAT(job.Story(), ElementsAre("progress 2"));
}

TEST_F(TrainingTaskTest, AStopThatIsTakenBackIsNone) {
  JobOnDisk job(path());
  job.Load();
  job.task_->RequestStop(StopRequest::kSave);
  job.task_->RequestStop(StopRequest::kNone);

  job.Run();

  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kFinished);
}

TEST_F(TrainingTaskTest, TheServerMayDieBetweenACheckpointAndItsEvent) {
  JobOnDisk job(path());
  job.Load();
  while (job.trainer_->steps_done() < 3) job.Run(1);
  job.recorder_->Flush();
  CopyState(path(), path("crashed"));  // without the checkpoint of step 3
  job.Run(1);
  job.recorder_->Flush();
  std::filesystem::remove_all(path("crashed") / "jobs");
  CopyState(path() / "jobs", path("crashed") / "jobs");

  JobOnDisk crashed(path("crashed"));
  EXPECT_EQ(crashed.open_.jobs.Get(1)->latest_checkpoint(), "");
  crashed.Load();

  EXPECT_EQ(crashed.trainer_->steps_done(), 3);
  EXPECT_THAT(crashed.Story(), ElementsAre("progress 2", "checkpoint 3"));
  EXPECT_EQ(crashed.open_.jobs.Get(1)->latest_checkpoint(), "trainingJobs/1/checkpoints/3");
}

TEST_F(TrainingTaskTest, ADamagedCheckpointIsToldOfAndTheOneBeforeIsTaken) {
  JobOnDisk job(path());
  job.Load();
  while (job.trainer_->steps_done() < 7) job.Run(1);
  job.recorder_->Flush();
  const auto newest = job.open_.state.checkpoints(1) / "step-00000006" / "snapshot.safetensors";
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) - 1);

  job.Load();

  EXPECT_EQ(job.trainer_->steps_done(), 3);
  EXPECT_THAT(job.Events().back().notice(), HasSubstr("step 6"));
  EXPECT_EQ(job.open_.jobs.Get(1)->latest_checkpoint(), "trainingJobs/1/checkpoints/3");
  job.Run();
  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kFinished);
}

TEST_F(TrainingTaskTest, WithoutAnIntactCheckpointItStartsOver) {
  JobOnDisk job(path());
  job.Load();
  while (job.trainer_->steps_done() < 4) job.Run(1);
  job.recorder_->Flush();
  std::filesystem::remove(job.open_.state.checkpoints(1) / "step-00000003" / "manifest.json");

  job.Load();

  EXPECT_EQ(job.trainer_->steps_done(), 0);
  EXPECT_THAT(job.Events().back().notice(), HasSubstr("starts over"));
  EXPECT_EQ(job.open_.jobs.Get(1)->latest_checkpoint(), "");
}

TEST_F(TrainingTaskTest, TooManyStepsThatAreNotFiniteEndIt) {
  JobOnDisk job(path());
  const RunSchedule schedule = {.progress_every = 0, .checkpoint_every = 3};
  job.Load({.hook =
                [](const TinyNetworkCall& call) {  // two a step
                  return call.number > 10 ? std::numeric_limits<float>::quiet_NaN() : 1;
                }},
           schedule);

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kNonFinite);
  EXPECT_EQ(job.task_->end().reason,
            "the training of models/tiny diverged: the loss was not finite from step 6 to step 7. "
            "Try a lower optimizer.learning_rate");
}

TEST_F(TrainingTaskTest, ALastStepThatIsNotFiniteEndsItToo) {
  JobOnDisk job(path());
  // Two network calls a step: only the last of the nine steps is spoilt, which is one of the two
  // that the settings allow.
  const RunSchedule schedule = {.progress_every = 0, .checkpoint_every = 3};
  job.Load({.hook =
                [](const TinyNetworkCall& call) {
                  return call.number > 16 ? std::numeric_limits<float>::quiet_NaN() : 1;
                }},
           schedule);

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kNonFinite);
  EXPECT_THAT(job.task_->end().reason, HasSubstr("the loss was not finite at step 9"));
  EXPECT_THAT(job.Story(), ElementsAre("checkpoint 3", "checkpoint 6"));
}

TEST_F(TrainingTaskTest, WhatMayRecoverIsNotSavedMeanwhile) {
  JobOnDisk job(path());
  const RunSchedule schedule = {.progress_every = 0, .checkpoint_every = 3};
  job.Load({.hook =
                [](const TinyNetworkCall& call) {
                  const bool spoilt = call.number == 11 || call.number == 12;  // of step 6
                  return spoilt ? std::numeric_limits<float>::quiet_NaN() : 1;
                }},
           schedule);

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end().kind, RunEnd::Kind::kFinished);
  EXPECT_THAT(job.Story(), ElementsAre("checkpoint 3", "checkpoint 9"));
}

TEST_F(TrainingTaskTest, ADeviceThatFailsEndsItWithoutTellingOfTheInside) {
  JobOnDisk job(path());
  job.Load({.hook = [](const TinyNetworkCall& call) -> float {
    if (call.number > 5) throw std::runtime_error("/dev/nvidia0 fell off the bus");
    return 1;
  }});

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end(), (RunEnd{RunEnd::Kind::kFailed, "the device failed"}));
}

TEST_F(TrainingTaskTest, ADiskThatIsFullEndsItUntilThereIsRoom) {
  JobOnDisk job(path());
  job.Load();
  job.Run(3);
  job.recorder_->WriteLater([]() -> absl::StatusOr<TrainingEvent> {
    return absl::ResourceExhaustedError("the server's disk is full");
  });
  job.recorder_->Flush();

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end(), (RunEnd{RunEnd::Kind::kDisk, "the server's disk is full"}));
}

TEST_F(TrainingTaskTest, TimeSpentTrainingIsBoundedAndTheLastStepHasEverything) {
  JobOnDisk job(path());
  job.Load({.hook =
                [&](const TinyNetworkCall&) {
                  job.open_.clock.Advance(absl::Seconds(1));
                  return 1.f;
                }},
           kSchedule, absl::Seconds(9));

  EXPECT_FALSE(job.Run());

  EXPECT_EQ(job.task_->end(), (RunEnd{RunEnd::Kind::kFinished, "max_duration was spent training"}));
  EXPECT_EQ(job.trainer_->steps_done(), 5);  // two calls a step; the ninth is in the middle
  EXPECT_THAT(job.Story(), ElementsAre("progress 2", "checkpoint 3", "progress 4", "grid 4",
                                       "progress 5", "grid 5", "evaluation 5", "checkpoint 5"));
}

TEST_F(TrainingTaskTest, EndsWhereItsKernelsFailOnceAndNotAgain) {
  JobOnDisk job(path());
  job.Load();
  ASSERT_TRUE(job.Run(3));

  job.task_->OnFailed(absl::ResourceExhaustedError("CUDA out of memory"));
  EXPECT_TRUE(job.ended_);
  const RunEnd end = job.task_->end();
  job.task_->OnFailed(absl::InternalError("and again"));

  EXPECT_EQ(end, EndOfWork(absl::ResourceExhaustedError("")));
  EXPECT_EQ(job.task_->end(), end);
}

// Other machines wait for it.
TEST_F(TrainingTaskTest, AStepThatIsSharedIsFinishedAtOnce) {
  JobOnDisk job(path());
  job.Load();
  const auto rendezvous = Rendezvous::Listen("127.0.0.1:0", "1").value();
  job.trainer_->TrainWith(rendezvous->Gather({.ranks = 1}, [] { return false; }).value());
  for (int step = 0; step < 2; ++step) {
    EXPECT_EQ(job.task_->RunSlice(), DeviceTask::Outcome::kMoreNow);
    EXPECT_EQ(job.task_->RunSlice(), DeviceTask::Outcome::kMore);
  }
}

}  // namespace
}  // namespace denoise
