#include "server/telemetry/training_telemetry.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include "tests/support/metrics_text.h"

namespace denoise {
namespace {

using denoised::v1::TrainingJob;

class TrainingTelemetryTest : public testing::Test {
 protected:
  MetricsPage Page() {
    return MetricsPage(prometheus::TextSerializer().Serialize(registry_.Collect()));
  }

  prometheus::Registry registry_;
  TrainingTelemetry telemetry_{registry_};
};

TEST_F(TrainingTelemetryTest, CountsSteps) {
  telemetry_.OnTrainingStep("trainingJobs/1",
                            {.pictures = 4, .device_time = absl::Milliseconds(250), .loss = 0.5});
  telemetry_.OnTrainingStep("trainingJobs/2",
                            {.pictures = 8, .device_time = absl::Milliseconds(750), .loss = 0.25});
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_training_steps_total"), 2);
  EXPECT_EQ(page.Sum("denoised_training_pictures_total"), 12);
  EXPECT_EQ(page.Sum("denoised_training_step_seconds_total"), 1);
}

TEST_F(TrainingTelemetryTest, TheLossIsThatOfTheLatestStepOfEachJobThatRuns) {
  telemetry_.OnTrainingStep("trainingJobs/1", {.loss = 0.5});
  telemetry_.OnTrainingStep("trainingJobs/1", {.loss = 0.125});
  telemetry_.OnTrainingStep("trainingJobs/2", {.loss = 0.25});
  EXPECT_EQ(Page().Sum("denoised_training_loss", {{"training_job", "trainingJobs/1"}}), 0.125);
  EXPECT_EQ(Page().Sum("denoised_training_loss", {{"training_job", "trainingJobs/2"}}), 0.25);

  telemetry_.OnJobState("trainingJobs/1", TrainingJob::SUCCEEDED, "");
  telemetry_.OnJobState("trainingJobs/3", TrainingJob::FAILED, "it never made a step");
  telemetry_.OnJobState("trainingJobs/2", TrainingJob::RUNNING, "");
  EXPECT_EQ(Page().Sum("denoised_training_loss"), 0.25) << "a job that is over has no loss";
  telemetry_.OnJobState("trainingJobs/2", TrainingJob::PAUSED, "");
  EXPECT_FALSE(Page().Has("denoised_training_loss"));
  telemetry_.OnTrainingStep("trainingJobs/2", {.loss = 0.0625});
  EXPECT_EQ(Page().Sum("denoised_training_loss"), 0.0625) << "it was resumed";
}

}  // namespace
}  // namespace denoise
