// What training looks like on a terminal, in parts that are functions.
#include "client/cli/display/job_display.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "client/cli/display/job_history.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kHostile[] = "\x1b[2Jgone\r\n";
constexpr int64_t kMost64 = std::numeric_limits<int64_t>::max();

v1::TrainingJob Job() {
  v1::TrainingJob job;
  job.set_name("trainingJobs/7");
  job.set_state(v1::TrainingJob::RUNNING);
  job.mutable_training()->set_dataset("datasets/emoji");
  job.set_steps_total(2000);
  return job;
}

v1::TrainingJob Evaluation() {
  v1::TrainingJob job = Job();
  job.mutable_evaluation()->set_dataset("datasets/emoji");
  return job;
}

v1::TrainingEvent Progress(int64_t step, double loss) {
  v1::TrainingEvent event;
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_loss(loss);
  event.mutable_progress()->set_pictures_per_second(12.34);
  event.mutable_progress()->mutable_time_left()->set_seconds(90);
  return event;
}

v1::TrainingEvent Grid(int width, int height) {
  v1::TrainingEvent event;
  const Image image{width, height, 3,
                    std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, 200)};
  v1::Image& sent = *event.mutable_sample_grid()->mutable_image();
  sent.set_encoding(v1::ENCODING_PNG);
  sent.set_data(EncodeImage(image, ImageFormat::kPng).value());
  return event;
}

v1::TrainingEvent StateChange(v1::TrainingJob::State state, const std::string& reason) {
  v1::TrainingEvent event;
  event.mutable_state_change()->set_state(state);
  event.mutable_state_change()->set_reason(reason);
  return event;
}

TEST(JobHistory, TellsStepsLossRateAndTheTimeLeft) {
  JobHistory history(Job());
  EXPECT_THAT(history.Line(80), HasSubstr("  0/2000 steps"));
  ASSERT_TRUE(history.Add(Progress(500, 0.0432)).ok());
  EXPECT_EQ(history.Line(66), "training   500/2000 steps  loss 0.0432  12.3 images/s  2 min left");
  EXPECT_THAT(history.Line(100), HasSubstr("████████░░░░░░░░░░░░░░░░░░░░░░░░  500/2000 steps"));
  ASSERT_TRUE(history.Add(StateChange(v1::TrainingJob::PAUSED, "the disk is full")).ok());
  EXPECT_EQ(history.Line(80), "paused: the disk is full");
  ASSERT_TRUE(history.Add(StateChange(v1::TrainingJob::RUNNING, "waits for 1 other rank")).ok());
  EXPECT_EQ(history.Line(80), "running: waits for 1 other rank");
  ASSERT_TRUE(history.Add(StateChange(v1::TrainingJob::RUNNING, "")).ok());
  EXPECT_THAT(history.Line(80), HasSubstr("  500/2000 steps"));
}

TEST(JobHistory, OfAnEvaluationHasNoLoss) {
  JobHistory history(Evaluation());
  ASSERT_TRUE(history.Add(Progress(500, 0)).ok());
  EXPECT_EQ(history.Line(38), "evaluating ██░░░░░░  500/2000 pictures");
  EXPECT_TRUE(history.losses().empty());
}

TEST(JobHistory, NoLineIsWiderThanItsTerminalWhateverTheServerSays) {
  JobHistory history(Job());
  const auto check = [&history] {
    for (int width = 1; width < 120; ++width) {
      const std::string line = history.Line(width);
      EXPECT_LE(line.size(), 3u * width);
      EXPECT_THAT(line, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\n")), Not(HasSubstr("\r"))));
    }
  };
  for (const int64_t step : {-kMost64, int64_t{-1}, int64_t{2000}, kMost64}) {
    for (const double loss : {0.0, 1e308, std::numeric_limits<double>::quiet_NaN()}) {
      v1::TrainingEvent event = Progress(step, loss);
      event.mutable_progress()->mutable_time_left()->set_seconds(kMost64);
      ASSERT_TRUE(history.Add(event).ok());
      check();
    }
  }
  ASSERT_TRUE(history.Add(StateChange(v1::TrainingJob::FAILED, kHostile)).ok());
  check();
}

TEST(JobHistory, ALineIsCutBetweenCharacters) {
  JobHistory history(Job());
  ASSERT_TRUE(history.Add(StateChange(v1::TrainingJob::FAILED, "\xe2\x82\xac")).ok());
  EXPECT_EQ(history.Line(11), "failed: \xe2\x82\xac");
  EXPECT_EQ(history.Line(10), "failed: ");
}

TEST(JobHistory, KeepsABoundedNumberOfLossesFromTheWholeJob) {
  JobHistory history(Job());
  for (int64_t step = 1; step <= 1000000; ++step) {
    ASSERT_TRUE(history.Add(Progress(step, 1.0 / static_cast<double>(step))).ok());
  }
  const std::vector<LossPoint>& losses = history.losses();
  EXPECT_LT(losses.size(), 20000u);
  EXPECT_GT(losses.size(), 5000u);
  EXPECT_EQ(losses.front().step, 1);
  EXPECT_GT(losses.back().step, 999000);
  for (size_t i = 2; i < losses.size(); ++i) {
    ASSERT_EQ(losses[i].step - losses[i - 1].step, losses[1].step - losses[0].step);
  }
}

TEST(JobHistory, RefusesAGridThatIsNoPicture) {
  JobHistory history(Job());
  v1::TrainingEvent broken = Grid(4, 4);
  broken.mutable_sample_grid()->mutable_image()->mutable_data()->resize(20);
  EXPECT_TRUE(absl::IsInternal(history.Add(broken)));
  v1::TrainingEvent huge = Grid(4, 4);
  huge.mutable_sample_grid()->mutable_image()->set_encoding(v1::ENCODING_RAW_FLOAT32);
  huge.mutable_sample_grid()->mutable_image()->set_width(1 << 30);
  huge.mutable_sample_grid()->mutable_image()->set_height(1 << 30);
  EXPECT_TRUE(absl::IsInternal(history.Add(huge)));
  EXPECT_FALSE(history.grid().has_value());
}

uint8_t Red(const Image& page, int x, int y) {
  return page.pixels[(static_cast<size_t>(y) * page.width + x) * 4];
}
uint8_t Alpha(const Image& page, int x, int y) {
  return page.pixels[(static_cast<size_t>(y) * page.width + x) * 4 + 3];
}

TEST(DrawJob, PutsTheLossBesideTheNewestGrid) {
  JobHistory history(Job());
  EXPECT_TRUE(DrawJob(history, 500, 200).pixels.empty()) << "of nothing";
  ASSERT_TRUE(history.Add(Progress(1, 0.5)).ok());
  ASSERT_TRUE(history.Add(Progress(2, 0.4)).ok());
  const Image alone = DrawJob(history, 500, 200);
  EXPECT_EQ(Alpha(alone, 5, 5), 255);
  EXPECT_EQ(Alpha(alone, 400, 100), 0) << "there is no grid yet";
  ASSERT_TRUE(history.Add(Grid(8, 8)).ok());
  const Image page = DrawJob(history, 500, 200);
  ASSERT_EQ(page.width, 500);
  ASSERT_EQ(page.height, 200);
  ASSERT_EQ(page.channels, 4);
  EXPECT_EQ(Red(page, 5, 5), 255) << "the chart's paper";
  EXPECT_EQ(Red(page, 301, 1), 200);
  EXPECT_EQ(Red(page, 498, 198), 200) << "as large as there is room";
}

TEST(DrawJob, TakesGridsOfAnyShapeIntoPagesOfAnySize) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3000, 1}, {1, 3000}, {7, 5}}) {
    JobHistory history(Job());
    ASSERT_TRUE(history.Add(Grid(width, height)).ok());
    ASSERT_TRUE(history.Add(Progress(1, 0.5)).ok());
    for (const auto& [columns, rows] : {std::pair{5, 1}, {8, 100}, {500, 4}, {333, 77}}) {
      const Image page = DrawJob(history, columns, rows);
      EXPECT_EQ(page.pixels.size(), static_cast<size_t>(columns) * rows * 4);
    }
  }
}

TEST(EventText, IsOneLineOfEveryKind) {
  EXPECT_EQ(EventText(StateChange(v1::TrainingJob::PAUSED, "full"), false), "paused: full");
  EXPECT_THAT(EventText(Progress(10, 0.5), false), StartsWith("step 10  loss 0.50000  "));
  EXPECT_EQ(EventText(Progress(10, 0.5), true), "10 pictures");
  v1::TrainingEvent event;
  event.mutable_checkpoint()->set_step(500);
  event.mutable_checkpoint()->set_size_bytes(1500);
  EXPECT_EQ(EventText(event, false), "step 500  checkpoint, 1.5 kB");
  event.mutable_evaluation()->set_step(500);
  event.mutable_evaluation()->set_bits_per_dim(3.25);
  EXPECT_THAT(EventText(event, false), AllOf(StartsWith("step 500  Frechet distance 0  precision"),
                                             HasSubstr("  3.2500 bits/dim")));
  EXPECT_THAT(EventText(event, true), StartsWith("Frechet distance"));
  event.mutable_published()->set_model("models/emoji");
  event.mutable_published()->set_model_version("0123");
  EXPECT_EQ(EventText(event, false), "published as emoji, version 0123");
  event.clear_event();
  EXPECT_EQ(EventText(event, false), "");
}

TEST(TrainingTexts, EscapeWhatATerminalWouldObey) {
  v1::TrainingJob job = Job();
  job.set_name(absl::StrCat("trainingJobs/", kHostile));
  job.set_state_reason(kHostile);
  job.set_latest_checkpoint(kHostile);
  (*job.mutable_labels())[kHostile] = kHostile;
  job.mutable_training()->set_dataset(kHostile);
  job.mutable_training()->set_base_model(kHostile);
  v1::Dataset dataset;
  dataset.set_name(kHostile);
  dataset.set_error(kHostile);
  dataset.mutable_report()->add_classes()->set_display_name(kHostile);
  dataset.mutable_report()->set_unreadable_files(1);
  dataset.mutable_report()->add_unreadable_examples()->set_reason(kHostile);
  v1::TrainingEvent published, notice;
  published.mutable_published()->set_model(kHostile);
  published.mutable_published()->set_model_version(kHostile);
  notice.set_notice(kHostile);
  for (const std::string& text :
       {JobDetails(job), JobTable({job}), DatasetDetails(dataset), DatasetTable({dataset}),
        EventText(published, false), EventText(notice, false), ResourceJson(job),
        ResourceJson(dataset), EventText(StateChange(v1::TrainingJob::FAILED, kHostile), false)}) {
    EXPECT_THAT(text, AllOf(HasSubstr("gone"), Not(HasSubstr("\x1b")), Not(HasSubstr("\r"))));
  }
}

TEST(DatasetTexts, TellWhatWasUploadedAndWhatIsStoredOfIt) {
  v1::Dataset dataset;
  dataset.set_total_bytes(2'000'000);
  dataset.set_received_bytes(2'000'000);
  EXPECT_THAT(DatasetDetails(dataset), Not(HasSubstr("stored")));
  dataset.set_stored_bytes(35'000'000);
  EXPECT_THAT(DatasetDetails(dataset), AllOf(HasSubstr("received          2.0 MB of 2.0 MB"),
                                             HasSubstr("stored            35.0 MB")));
  EXPECT_THAT(DatasetTable({dataset}),
              AllOf(HasSubstr("UPLOAD  STORED "), HasSubstr("2.0 MB  35.0 MB")));
}

TEST(TrainingTexts, AListSaysWhatItsJobsWaitForAndNotWhyOthersHaveEnded) {
  v1::TrainingJob waiting, failed;
  waiting.set_name("trainingJobs/2");
  waiting.set_state(v1::TrainingJob::RUNNING);
  waiting.set_state_reason("waits for 1 other rank");
  failed.set_name("trainingJobs/1");
  failed.set_state(v1::TrainingJob::FAILED);
  failed.set_state_reason("the device failed");
  EXPECT_THAT(JobTable({waiting, failed}),
              AllOf(EndsWith("\njob 2 is running at step 0 of 0: waits for 1 other rank"),
                    Not(HasSubstr("the device failed"))));
}

TEST(TrainingTexts, NoticesNameTheFlagsOfFieldsAsReasonsDo) {
  const std::string reason = "it diverged. Try a lower optimizer.learning_rate";
  v1::TrainingEvent notice;
  notice.set_notice("rolled back to the last checkpoint, once: " + reason);
  EXPECT_THAT(EventText(notice, false), HasSubstr("Try a lower --learning-rate"));
  EXPECT_THAT(EventText(StateChange(v1::TrainingJob::FAILED, reason), false),
              HasSubstr("Try a lower --learning-rate"));
}

TEST(TrainingTexts, AnUnknownStateIsToldAsSuch) {
  EXPECT_EQ(StateText(static_cast<v1::TrainingJob::State>(99)), "unknown");
}

TEST(JobDetails, TellSettingsAndSummariesDoNot) {
  v1::TrainingJob job = Job();
  job.mutable_training()->mutable_optimizer()->set_learning_rate(2e-4);
  job.mutable_training()->add_ema_decays(0.9);
  job.mutable_training()->add_ema_decays(0.99);
  EXPECT_EQ(JobSummary(job),
            "7\n  state       running\n  steps       0/2000\n  created     -\n  started     -\n"
            "  ended       -");
  EXPECT_EQ(JobDetails(job), JobSummary(job) +
                                 "\n  settings\n    dataset: \"datasets/emoji\"\n    optimizer {\n"
                                 "      learning_rate: 0.0002\n    }\n    ema_decays: [0.9, 0.99]");
}

TEST(FormatTable, AlignsColumnsByTheCharactersThatAreShown) {
  EXPECT_EQ(FormatTable({{"NAME", "SIZE"}, {"fr\xc3\xb8", "1"}, {"longer", "2"}}),
            "NAME    SIZE\nfr\xc3\xb8     1\nlonger  2");
}

}  // namespace
}  // namespace denoise
