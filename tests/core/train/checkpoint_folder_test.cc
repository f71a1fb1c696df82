#include "core/train/checkpoint_folder.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/status_macros.h"
#include "tests/core/files/full_disk.h"
#include "tests/core/train/trainer_testing.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unreadable.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

TrainingSnapshot SnapshotOfStep(int64_t step) {
  return {.step = step,
          .tensors = {{"weights.w", at::full({3, 4}, static_cast<float>(step))},
                      {"ema.0.w", at::arange(1000, at::kFloat) * 0.1}},
          .state = R"({"run": {}})"};
}

class CheckpointFolderTest : public testing::Test {
 protected:
  CheckpointFolderTest() : folder_(OpenFolder()) {}

  CheckpointFolder OpenFolder() const {
    auto folder = CheckpointFolder::Open(path_);
    EXPECT_TRUE(folder.ok()) << folder.status();
    return *folder;
  }

  void Write(int64_t step, int keep = 10) {
    const absl::Status status = folder_.Write(SnapshotOfStep(step), keep);
    EXPECT_TRUE(status.ok()) << status;
  }

  std::vector<int64_t> Steps() const {
    std::vector<int64_t> steps;
    const auto entries = folder_.List();
    EXPECT_TRUE(entries.ok()) << entries.status();
    for (const CheckpointFolder::Entry& entry : *entries) steps.push_back(entry.step);
    return steps;
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path FileOf(int64_t step, const std::string& name) const {
    char folder[32];
    std::snprintf(folder, sizeof(folder), "step-%08d", static_cast<int>(step));
    return path_ / folder / name;
  }

  // Writes steps 5 and 10, spoils 10, and expects 5 in its place with this reason.
  void ExpectSetAside(const std::function<void()>& spoil, const std::string& reason) {
    Write(5);
    Write(10);
    spoil();
    EXPECT_EQ(folder_.Load(10).status().code(), StatusCode::kDataLoss);
    const auto loaded = folder_.LoadNewest();
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->snapshot.step, 5);
    ASSERT_EQ(loaded->set_aside.size(), 1u);
    EXPECT_THAT(loaded->set_aside.front(), testing::StartsWith("step 10: "));
    EXPECT_THAT(loaded->set_aside.front(), HasSubstr(reason));
    EXPECT_THAT(loaded->set_aside.front(), testing::Not(HasSubstr(path_.string())));
    EXPECT_THAT(Steps(), ElementsAre(5));
    EXPECT_TRUE(fs::exists(path_ / "step-00000010.corrupt" / "state.json"));
    EXPECT_TRUE(folder_.LoadNewest()->set_aside.empty());
  }

  TempDir parent_;
  const fs::path path_ = parent_.path() / "jobs" / "7";
  CheckpointFolder folder_;
};

TEST_F(CheckpointFolderTest, LoadsWhatWasWritten) {
  Write(5);
  const auto snapshot = folder_.Load(5);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const TrainingSnapshot written = SnapshotOfStep(5);
  EXPECT_EQ(snapshot->step, 5);
  EXPECT_EQ(snapshot->state, written.state);
  EXPECT_TRUE(BitEqual(snapshot->tensors, written.tensors));
}

TEST_F(CheckpointFolderTest, ALoadedSnapshotDoesNotChangeWithItsFile) {
  Write(5);
  const auto loaded = folder_.LoadNewest();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const fs::path file = FileOf(5, "snapshot.safetensors");
  std::fstream(file, std::ios::in | std::ios::out)
      .seekp(static_cast<std::streamoff>(fs::file_size(file)) - 4)
      .write("????", 4);
  EXPECT_TRUE(BitEqual(loaded->snapshot.tensors, SnapshotOfStep(5).tensors));
  EXPECT_EQ(folder_.Load(5).status().code(), StatusCode::kDataLoss);
}

TEST_F(CheckpointFolderTest, KeepsTheNewest) {
  for (const int64_t step : {5, 200, 10, 123456789}) Write(step, 3);
  EXPECT_THAT(Steps(), ElementsAre(123456789, 200, 10));
  Write(11, 0);
  EXPECT_THAT(Steps(), ElementsAre(123456789));
  EXPECT_THAT(Names(), ElementsAre("step-123456789"));
  const auto entries = *folder_.List();
  EXPECT_GT(entries.front().size_bytes, 4000);
  EXPECT_LT(entries.front().size_bytes, 6000);
}

TEST_F(CheckpointFolderTest, KeepsAnExistingCheckpointOfTheSameStep) {
  Write(5);
  TrainingSnapshot other = SnapshotOfStep(5);
  other.state = "{}";
  EXPECT_TRUE(folder_.Write(other, 1).ok());
  EXPECT_EQ(folder_.Load(5)->state, SnapshotOfStep(5).state);
}

TEST_F(CheckpointFolderTest, IsNotFoundWhenThereIsNone) {
  EXPECT_EQ(folder_.LoadNewest().status().code(), StatusCode::kNotFound);
  EXPECT_EQ(folder_.Load(3).status().code(), StatusCode::kNotFound);
  Write(5);
  fs::remove(FileOf(5, "manifest.json"));
  const absl::Status status = folder_.LoadNewest().status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("step 5: manifest.json"));
}

// Else a run would start over, or from an older checkpoint.
TEST_F(CheckpointFolderTest, WhatCannotBeReadNowIsNeitherMissingNorDamaged) {
  Write(5);
  Write(10);
  const fs::path newest = FileOf(10, "").parent_path();
  for (const fs::path& path : {path_, newest, newest / "manifest.json", newest / "state.json",
                               newest / "snapshot.safetensors"}) {
    SCOPED_TRACE(path);
    const Unreadable unreadable(path);
    EXPECT_EQ(folder_.LoadNewest().status().code(), StatusCode::kUnavailable);
    EXPECT_EQ(folder_.Load(10).status().code(), StatusCode::kUnavailable);
  }
  {
    const Unreadable unreadable(path_);
    EXPECT_EQ(folder_.List().status().code(), StatusCode::kUnavailable);
  }
  {
    const NoDescriptors none;
    EXPECT_EQ(folder_.LoadNewest().status().code(), StatusCode::kUnavailable);
  }
  const auto loaded = folder_.LoadNewest();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->snapshot.step, 10);
  EXPECT_TRUE(loaded->set_aside.empty());
}

TEST_F(CheckpointFolderTest, SetsAsideACheckpointWithAFlippedByte) {
  ExpectSetAside(
      [this] {
        std::string bytes = ReadFile(FileOf(10, "snapshot.safetensors"));
        bytes[bytes.size() / 2] ^= 1;
        WriteFile(FileOf(10, "snapshot.safetensors"), bytes);
      },
      "snapshot.safetensors has another hash");
}

TEST_F(CheckpointFolderTest, SetsAsideATruncatedCheckpoint) {
  ExpectSetAside([this] { fs::resize_file(FileOf(10, "snapshot.safetensors"), 100); },
                 "snapshot.safetensors has 100 bytes");
}

TEST_F(CheckpointFolderTest, SetsAsideACheckpointWithoutAllItsFiles) {
  ExpectSetAside([this] { fs::remove(FileOf(10, "snapshot.safetensors")); },
                 "snapshot.safetensors");
}

TEST_F(CheckpointFolderTest, SetsAsideACheckpointWhoseStateHasChanged) {
  ExpectSetAside([this] { WriteFile(FileOf(10, "state.json"), R"({"run": []})"); },
                 "state.json has another hash");
}

TEST_F(CheckpointFolderTest, SetsAsideACheckpointWithAMalformedManifest) {
  const std::string hash(64, 'a');
  const nlohmann::json file = {{"size_bytes", 1}, {"sha256", hash}};
  for (const std::string& manifest :
       {std::string(), std::string("{"), std::string("[]"), std::string("\xff"),
        std::string(5000, ' '), std::string(2 << 20, '{'), std::string(R"({"step": 10})"),
        std::string(R"({"step": 10, "files": {}})"), std::string(R"({"step": -1, "files": {}})"),
        std::string(R"({"step": 10, "files": {"snapshot.safetensors": 1, "state.json": 2}})"),
        nlohmann::json{
            {"step", 10},
            {"files",
             {{"snapshot.safetensors", file}, {"state.json", file}, {"../../passwd", file}}}}
            .dump()}) {
    fs::remove_all(path_);
    folder_ = OpenFolder();
    ExpectSetAside([&] { WriteFile(FileOf(10, "manifest.json"), manifest); }, "manifest.json");
  }
}

TEST_F(CheckpointFolderTest, SetsAsideACheckpointOfAnotherStep) {
  ExpectSetAside(
      [this] {
        fs::copy_file(FileOf(5, "manifest.json"), FileOf(10, "manifest.json"),
                      fs::copy_options::overwrite_existing);
      },
      "manifest.json is for step 5");
}

TEST_F(CheckpointFolderTest, SetAsideCheckpointsAreReplacedAndPruned) {
  for (int repetition = 0; repetition < 2; ++repetition) {
    Write(5);
    Write(10);
    fs::remove(FileOf(10, "state.json"));
    EXPECT_EQ(folder_.LoadNewest()->snapshot.step, 5);
  }
  Write(15, 2);
  EXPECT_THAT(Names(), ElementsAre("step-00000005", "step-00000010.corrupt", "step-00000015"));
  Write(20, 2);
  EXPECT_THAT(Names(), ElementsAre("step-00000015", "step-00000020"));
}

TEST_F(CheckpointFolderTest, RemovesWhatACrashLeft) {
  Write(5);
  fs::create_directory(path_ / ".writing-1-2");
  WriteFile(path_ / ".writing-1-2" / "snapshot.safetensors", "half");
  fs::create_directory(path_ / "other");
  WriteFile(path_ / "step-00000099", "no folder");
  folder_ = OpenFolder();
  EXPECT_THAT(Names(), ElementsAre("other", "step-00000005", "step-00000099"));
  EXPECT_EQ(folder_.LoadNewest()->snapshot.step, 5);
}

TEST_F(CheckpointFolderTest, AFullDiskLosesNothing) {
  Write(5, 1);
  // In the middle of the tensors.
  {
    const FullDisk full(2000, FullDisk::Then::kError);
    const absl::Status status = folder_.Write(SnapshotOfStep(10), 1);
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr(path_.string())));
  }
  EXPECT_THAT(Names(), ElementsAre("step-00000005"));
  EXPECT_TRUE(folder_.Load(5).ok());
  Write(10, 1);
  EXPECT_THAT(Names(), ElementsAre("step-00000010"));
}

TEST_F(CheckpointFolderTest, ErrorsDoNotNameTheFolder) {
  WriteFile(parent_.path() / "file", "");
  const absl::Status status = CheckpointFolder::Open(parent_.path() / "file" / "7").status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr(parent_.path().string())));
}

// Training that stops, is written to disk and resumes in another process.

struct Progress {
  std::vector<double> losses;
  TrainingSnapshot end;
};

Trainer::Setup SecondMomentSetup(TrainingPrecision precision) {
  TrainingOptions options;
  options.objective.timestep_sampling = TimestepSampling::kLossSecondMoment;
  options.objective.label_dropout = 0.2;
  options.optimizer = {.learning_rate = 0.01,
                       .weight_decay = 0.1,
                       .warmup_steps = 5,
                       .decay = LearningRateDecay::kCosine};
  options.max_steps = 20;
  options.batch_size = 11;
  options.micro_batch_size = 4;
  options.seed = 3;
  options.ema_decays = {0.5, 0.9};
  options.precision = precision;
  // With four timesteps every one is seen often enough for the losses to matter early.
  Trainer::Setup setup = TinySetup({.height = 16, .width = 16, .num_class_embeds = 3}, options);
  setup.scheduler =
      *ParseSchedulerConfig(R"({"_class_name": "DDPMScheduler", "num_train_timesteps": 4})");
  return setup;
}

absl::StatusOr<std::vector<double>> Losses(Trainer& trainer, int steps) {
  ASSIGN_OR_RETURN(const auto reports, RunSteps(trainer, steps));
  std::vector<double> losses;
  for (const StepReport& report : reports) losses.push_back(report.loss);
  return losses;
}

absl::StatusOr<Progress> TrainStraight(const Trainer::Setup& setup) {
  ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(setup));
  Progress progress;
  ASSIGN_OR_RETURN(progress.losses, Losses(*trainer, 20));
  ASSIGN_OR_RETURN(progress.end, trainer->Snapshot());
  return progress;
}

// Is stopped after 7 steps and a few network calls.
absl::StatusOr<Progress> TrainWithABreak(const Trainer::Setup& setup, const fs::path& path) {
  ASSIGN_OR_RETURN(auto trainer, Trainer::Create(setup));
  Progress progress;
  ASSIGN_OR_RETURN(progress.losses, Losses(*trainer, 7));
  for (int slice = 0; slice < 2; ++slice) RETURN_IF_ERROR(trainer->RunSlice().status());
  {
    ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
    ASSIGN_OR_RETURN(const TrainingSnapshot snapshot, trainer->Snapshot());
    RETURN_IF_ERROR(folder.Write(snapshot, 1));
  }
  ASSIGN_OR_RETURN(trainer, Trainer::Create(setup));
  ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
  ASSIGN_OR_RETURN(const CheckpointFolder::Loaded loaded, folder.LoadNewest());
  RETURN_IF_ERROR(trainer->Restore(loaded.snapshot));
  ASSIGN_OR_RETURN(const std::vector<double> losses, Losses(*trainer, 13));
  progress.losses.insert(progress.losses.end(), losses.begin(), losses.end());
  ASSIGN_OR_RETURN(progress.end, trainer->Snapshot());
  return progress;
}

TEST(InterruptedTraining, RepeatsAnUninterruptedRunBitForBit) {
  at::set_num_threads(2);
  for (const auto precision : {TrainingPrecision::kFloat32, TrainingPrecision::kBFloat16}) {
    const TempDir dir;
    const Trainer::Setup setup = SecondMomentSetup(precision);
    const auto straight = TrainStraight(setup);
    const auto interrupted = TrainWithABreak(setup, dir.path());
    ASSERT_TRUE(straight.ok()) << straight.status();
    ASSERT_TRUE(interrupted.ok()) << interrupted.status();
    EXPECT_EQ(straight->losses, interrupted->losses);
    EXPECT_EQ(straight->end.state, interrupted->end.state);
    EXPECT_TRUE(BitEqual(straight->end.tensors, interrupted->end.tensors));
    // Losses have had their say: each of the four timesteps has been seen ten times, and more.
    EXPECT_EQ(straight->end.tensors.at("timesteps.counts").sum().item<float>(), 4 * 10);
  }
}

}  // namespace
}  // namespace denoise
