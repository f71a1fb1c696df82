// The commands `denoise train` and `denoise evaluate`.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/commands/cli_training_testing.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

using CliTrainTest = CliTrainingTest;

TEST_F(CliTrainTest, CreateSendsWhatItsFlagsSay) {
  const auto result = Run({"train",
                           "create",
                           "--dataset=emoji",
                           "--priority=-2",
                           "--request-id=again",
                           "--height=32",
                           "--width=24",
                           "--block-out-channels=16,32",
                           "--attention-levels=1",
                           "--noise-schedule=edm",
                           "--class-conditional=false",
                           "--weighting=min-snr",
                           "--timestep-sampling=log-normal",
                           "--learning-rate=2e-4",
                           "--decay=cosine",
                           "--max-steps=2000",
                           "--max-duration=90m",
                           "--batch-size=32",
                           "--seed=5",
                           "--ema-decays=0.9,0.99",
                           "--precision=bfloat16",
                           "--horizontal-flip",
                           "--random-crop-scale=1.25",
                           "--keep-checkpoints=3",
                           "--sample-every=100",
                           "--sampler=ddim",
                           "--steps=9",
                           "--evaluate-every=500",
                           "--evaluation-features=pixels",
                           "--label=animals=yes"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  ASSERT_EQ(created_.size(), 1u);
  EXPECT_EQ(created_[0].ShortDebugString(),
            "request_id: \"again\" training { dataset: \"datasets/emoji\" "
            "new_network { height: 32 width: 24 block_out_channels: 16 block_out_channels: 32 "
            "attention_levels: 1 noise_schedule: \"edm\" class_conditional: false } "
            "objective { weighting: MIN_SNR timestep_sampling: LOG_NORMAL } "
            "optimizer { learning_rate: 0.0002 decay: COSINE } batch_size: 32 max_steps: 2000 "
            "max_duration { seconds: 5400 } seed: 5 ema_decays: 0.9 ema_decays: 0.99 "
            "precision: BFLOAT16 augmentation { horizontal_flip: true random_crop_scale: 1.25 } "
            "checkpoints { keep: 3 } "
            "samples { every_n_steps: 100 sampler { sampler: SAMPLER_DDIM steps: 9 } } "
            "evaluations { every_n_steps: 500 settings { features: PIXELS } } } "
            "priority: -2 labels { key: \"animals\" value: \"yes\" }");
  EXPECT_THAT(result.output, AllOf(StartsWith("7\n  state       succeeded"),
                                   HasSubstr("    ema_decays: [0.9, 0.99]\n")));
}

TEST_F(CliTrainTest, AServedModelIsTrainedFurther) {
  ASSERT_EQ(Run({"train", "create", "-d", "emoji", "-m", "shapes", "-n", "5"}).exit_status,
            Exited(0));
  EXPECT_EQ(created_[0].ShortDebugString(),
            "training { dataset: \"datasets/emoji\" base_model: \"models/shapes\" max_steps: 5 "
            "samples { sampler { } } }");
}

TEST_F(CliTrainTest, WrongSettingsAreNamedByTheirFlags) {
  training_.create_job = [](const auto&, auto&) {
    return BadRequestStatus({{"training.optimizer.learning_rate", "is negative"},
                             {"training.new_network.block_out_channels[1]", "is 0"},
                             {"training.samples.sampler.steps", "is 0"},
                             {"labels", "are too many"}});
  };
  const auto result = Run({"train", "create", "-d", "emoji", "-n", "5", "-m", "shapes", "--json"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error,
              AllOf(HasSubstr("  --learning-rate: is negative\n"),
                    HasSubstr("  --block-out-channels[1]: is 0\n"), HasSubstr("  --steps: is 0\n"),
                    HasSubstr("  --label: are too many\n")));
  EXPECT_EQ(Lines(result.output).at(0)["error"]["violations"][0]["flag"], "--learning-rate");
}

TEST_F(CliTrainTest, UsageErrorsAreToldBeforeTheServerIsAsked) {
  const std::vector<std::string> cases[] = {
      {"--max-steps", "many"},   {"--block-out-channels", "16,,32"}, {"--decay", "slow"},
      {"--max-duration", "now"}, {"--no-attention=perhaps"},         {"--label", "nothing"}};
  for (const std::vector<std::string>& flags : cases) {
    std::vector<std::string> arguments = {"train", "create", "-d", "emoji"};
    if (flags[0] != "--max-steps") arguments.insert(arguments.end(), {"-n", "5"});
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const auto result = Run(arguments);
    EXPECT_EQ(result.exit_status, Exited(2)) << flags[0];
    EXPECT_THAT(result.error, HasSubstr(flags[0].substr(0, flags[0].find('=')))) << flags[0];
  }
  EXPECT_EQ(Run({"train", "create", "-n", "5"}).exit_status, Exited(2));
  EXPECT_EQ(Run({"train", "create", "-d", "emoji"}).exit_status, Exited(2));
  EXPECT_EQ(Run({"train", "list", "--state", "asleep"}).exit_status, Exited(2));
  EXPECT_THAT(created_, IsEmpty());
}

TEST_F(CliTrainTest, AWatchPrintsALineForEachEventAndHowItEnded) {
  const auto result =
      Run({"train", "create", "-d", "emoji", "-n", "20", "-m", "shapes", "--watch"});
  EXPECT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(result.error, IsEmpty());
  std::vector<std::string> lines = absl::StrSplit(result.output, '\n');
  ASSERT_GT(lines.size(), 10u) << result.output;
  EXPECT_THAT(lines[0],
              AllOf(StartsWith("job 7 "), HasSubstr("; `denoise train watch 7` follows")));
  lines.erase(lines.begin());
  EXPECT_EQ(lines[0], "queued");
  EXPECT_EQ(lines[1], "running");
  EXPECT_THAT(lines[2], StartsWith("step 10  loss 0.50000"));
  EXPECT_EQ(lines[3], "step 10  samples");
  EXPECT_EQ(lines[4], "the disk is half full");
  EXPECT_THAT(lines[5], StartsWith("step 20  loss 0.25000"));
  EXPECT_EQ(lines[6], "succeeded: because");
  EXPECT_EQ(lines[7], "7");
  EXPECT_EQ(lines[8], "  state       succeeded");
  EXPECT_THAT(result.output, Not(HasSubstr("settings")));
}

TEST_F(CliTrainTest, AWatchSurvivesTheServerAndRepeatsNothing) {
  std::vector<int64_t> resumed_after;
  training_.watch_job = [&](auto&, const auto& request, auto& writer) {
    resumed_after.push_back(request.resume_after());
    for (const v1::TrainingEvent& event : WholeJob()) {
      if (event.sequence() <= request.resume_after()) continue;
      writer.Write(event);
      if (event.sequence() == 3) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
      if (event.sequence() == 4) return grpc::Status::CANCELLED;  // as where it shuts down
    }
    return grpc::Status::OK;
  };
  const auto result = Run({"train", "watch", "7", "--json"});
  EXPECT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(resumed_after, ElementsAre(0, 3, 4));
  EXPECT_THAT(result.error, HasSubstr("the server is away"));
  const std::vector<json> lines = Lines(result.output);
  ASSERT_EQ(lines.size(), WholeJob().size());
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["sequence"], absl::StrCat(i + 1));
}

TEST_F(CliTrainTest, JsonIsOneLineForEachEventAndNothingElse) {
  const auto result =
      Run({"train", "watch", "7", "--json", "--resume-after", "2", "--out", out().string()});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  const std::vector<json> lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0]["progress"]["step"], "10");
  const json& image = lines[1]["sample_grid"]["image"];
  EXPECT_EQ(image["path"], (out() / "samples-step-00000010.png").string());
  EXPECT_EQ(image["size_bytes"], fs::file_size(out() / "samples-step-00000010.png"));
  EXPECT_FALSE(image.contains("data"));
  EXPECT_EQ(lines[4]["state_change"]["state"], "SUCCEEDED");
}

TEST_F(CliTrainTest, GridsAndTheLossAreWritten) {
  ASSERT_EQ(Run({"train", "watch", "7", "--out", out().string()}).exit_status, Exited(0));
  EXPECT_EQ(ReadFile(out() / "samples-step-00000010.png"), Picture().data());
  EXPECT_EQ(ReadFile(out() / "loss.csv"), "step,loss\n10,0.5\n20,0.25\n");
  EXPECT_TRUE(DecodeImage(ReadFile(out() / "loss.png"), 1 << 24).ok());
}

TEST_F(CliTrainTest, AJobThatDoesNotSucceedIsAFailure) {
  for (const auto end : {v1::TrainingJob::FAILED, v1::TrainingJob::CANCELLED}) {
    Serve(WholeJob(end));
    job_.set_state(end);
    job_.set_state_reason("the loss is not finite");
    const auto result = Run({"train", "watch", "7"});
    EXPECT_EQ(result.exit_status, Exited(1)) << result.error;
    EXPECT_THAT(result.output, HasSubstr(": the loss is not finite\n"));
  }
}

TEST_F(CliTrainTest, AnInterruptStopsTheWatchAndNotTheJob) {
  ServeForEver({WholeJob()[0], WholeJob()[1]});
  auto process = Subprocess::Start(Argv({"train", "watch", "7"})).value();
  ASSERT_TRUE(process->standard_output().WaitForLine("running", kPatience));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  EXPECT_THAT(process->standard_error().WaitForEnd(), HasSubstr("the job keeps running"));
}

TEST_F(CliTrainTest, AnInterruptWhileTheServerIsAwaySaysTheSame) {
  training_.watch_job = [](auto&, const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  };
  auto process = Subprocess::Start(Argv({"train", "watch", "7", "--out", out().string()})).value();
  ASSERT_TRUE(process->standard_error().WaitForLine("denoise: the server is away", kPatience));
  process->Signal(SIGTERM);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  EXPECT_THAT(process->standard_error().WaitForEnd(),
              HasSubstr("`denoise train cancel 7` ends it"));
}

TEST_F(CliTrainTest, AJobThatIsNotThereIsNotFound) {
  EXPECT_EQ(Run({"train", "watch", "8"}).exit_status, Exited(5));
  EXPECT_EQ(Run({"train", "get", "8"}).exit_status, Exited(5));
  EXPECT_EQ(Run({"datasets", "report", "other"}).exit_status, Exited(5));
  EXPECT_THAT(Run({"train", "watch", "8"}).error,
              StartsWith("denoise: there is no job 8. `denoise train list` shows what exists.\n"));
}

TEST_F(CliTrainTest, ANameThatCannotBeAJobsIsNamedAsItWasTyped) {
  training_.get_job = [](const auto&, auto&) {
    return BadRequestStatus({{"name", "must be \"trainingJobs/\" and a job's name"}});
  };
  training_.list_checkpoints = [](const auto&, auto&) {
    return BadRequestStatus({{"parent", "must be \"trainingJobs/\" and a job's name"}});
  };
  training_.publish = [](const auto&, auto&) {
    return BadRequestStatus({{"source", "must be \"trainingJobs/\" and a job's name"}});
  };
  const std::vector<std::string> commands[] = {{"train", "get", "abc"},
                                               {"train", "watch", "abc"},
                                               {"train", "checkpoints", "abc"},
                                               {"train", "publish", "abc", "--model", "m"}};
  for (const std::vector<std::string>& command : commands) {
    const auto result = Run(command);
    EXPECT_EQ(result.exit_status, Exited(2));
    EXPECT_EQ(result.error,
              "denoise: the request is invalid\n"
              "  job: must be a job that `denoise train list` prints; is abc\n")
        << command[1];
  }
}

TEST_F(CliTrainTest, WhatIsTrainedMustBeChosen) {
  const auto result = Run({"train", "create", "-d", "emoji", "-n", "5", "--json"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error,
              HasSubstr("--base-model or --height: is required: --base-model trains"));
  EXPECT_THAT(Lines(result.output).at(0)["error"]["message"].get<std::string>(),
              StartsWith("--base-model or --height: is required"));
  EXPECT_THAT(created_, IsEmpty());
  training_.create_job = [](const auto&, auto&) {
    return BadRequestStatus({{"training.base", "must be base_model or new_network"},
                             {"training.objective.vlb_weight", "goes with the loss HYBRID"}});
  };
  const auto refused = Run({"train", "create", "-d", "emoji", "-n", "5", "-m", "shapes"});
  EXPECT_THAT(refused.error,
              AllOf(HasSubstr("  --base-model or --height: must be --base-model or --height\n"),
                    HasSubstr("  --vlb-weight: goes with the loss hybrid\n")));
}

TEST_F(CliTrainTest, AFolderHoldsOneJob) {
  const std::vector<std::string> watch = {"train", "watch", "7", "--out", out().string()};
  ASSERT_EQ(Run(watch).exit_status, Exited(0));
  EXPECT_EQ(Run(watch).exit_status, Exited(0)) << "the same job";
  job_.set_name("trainingJobs/8");
  const auto refused = Run({"train", "watch", "8", "--out", out().string()});
  EXPECT_EQ(refused.exit_status, Exited(2));
  EXPECT_THAT(refused.error, HasSubstr("--overwrite"));
  const std::vector<std::string> create = {"train",   "create", "-d",          "emoji",
                                           "-n",      "20",     "-m",          "shapes",
                                           "--watch", "--out",  out().string()};
  EXPECT_EQ(Run(create).exit_status, Exited(2));
  EXPECT_THAT(created_, IsEmpty()) << "refused before a job is created";
  EXPECT_EQ(Run({"train", "watch", "8", "--out", out().string(), "--overwrite"}).exit_status,
            Exited(0));
}

TEST_F(CliTrainTest, TheTimeLeftIsToldOutsideATerminal) {
  std::vector<v1::TrainingEvent> events = WholeJob();
  for (size_t i = 0; i < events.size(); ++i) {
    events[i].mutable_time()->set_seconds(1000 + 100 * static_cast<int64_t>(i));
  }
  job_.set_steps_total(40);
  Serve(events);
  const auto result = Run({"train", "watch", "7"});
  EXPECT_THAT(result.output, AllOf(HasSubstr("step 10  loss 0.50000"), HasSubstr("  5 min left\n")))
      << "30 steps at 10 s each";
}

TEST_F(CliTrainTest, ANewJobIsToldHowLongAJobLikeItTakes) {
  training_.list_jobs = [&](const auto&, auto& response) {
    v1::TrainingJob& other = *response.add_jobs();
    other.set_name("trainingJobs/3");
    *other.mutable_training() = job_.training();
    other.mutable_training()->set_base_model("models/shapes");
    other.mutable_progress()->set_pictures_per_second(2);
    return grpc::Status::OK;
  };
  job_.mutable_training()->set_base_model("models/shapes");
  job_.mutable_training()->set_batch_size(60);
  const auto result = Run({"train", "create", "-d", "emoji", "-n", "20", "-m", "shapes"});
  EXPECT_THAT(
      result.output,
      HasSubstr("\n  estimate    about 10 min of training, at the 2.0 images/s of job 3\n"));
}

TEST_F(CliTrainTest, AServerWithoutTrainingIsTold) {
  const auto result = Run({"train", "list"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("--state"));
}

TEST_F(CliTrainTest, JobsAreListedByState) {
  std::string request_text;
  training_.list_jobs = [&](const auto& request, auto& response) {
    request_text = request.ShortDebugString();
    *response.add_jobs() = job_;
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"train", "list", "--state", "running,queued"}).output,
              AllOf(HasSubstr("JOB  KIND      STATE      STEPS  LOSS  DATA SET  CREATED\n"),
                    HasSubstr("7    training  succeeded  20/20  -     emoji     -\n")));
  EXPECT_THAT(request_text, AllOf(HasSubstr("states: RUNNING"), HasSubstr("states: QUEUED")));
  EXPECT_EQ(Lines(Run({"train", "list", "--json"}).output).at(0)["name"], "trainingJobs/7");
}

TEST_F(CliTrainTest, AJobIsSteered) {
  std::vector<std::string> calls;
  const auto steer = [&](const char* call, v1::TrainingJob::State state) {
    return [&calls, this, call, state](const auto& request, auto& job) {
      calls.push_back(absl::StrCat(call, " ", request.name()));
      job = job_;
      job.set_state(state);
      return grpc::Status::OK;
    };
  };
  training_.cancel_job = steer("cancel", v1::TrainingJob::CANCELLING);
  training_.pause_job = steer("pause", v1::TrainingJob::PAUSED);
  training_.resume_job = steer("resume", v1::TrainingJob::QUEUED);
  training_.delete_job = [&](const auto& request, auto&) {
    calls.push_back("delete " + request.name());
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"train", "pause", "7"}).output,
            "job 7 is paused at step 20 of 20; `denoise train resume 7` continues it\n");
  EXPECT_EQ(Lines(Run({"train", "resume", "7", "--json"}).output).at(0)["state"], "QUEUED");
  EXPECT_EQ(Run({"train", "cancel", "7"}).output, "job 7 is being cancelled\n");
  EXPECT_EQ(Run({"train", "delete", "7"}).output, "job 7 is deleted\n");
  EXPECT_THAT(calls, ElementsAre("pause trainingJobs/7", "resume trainingJobs/7",
                                 "cancel trainingJobs/7", "delete trainingJobs/7"));
  training_.pause_job = steer("pause", v1::TrainingJob::RUNNING);
  EXPECT_EQ(Run({"train", "pause", "7"}).output,
            "job 7 is still running; it pauses as soon as it has saved a checkpoint\n");
  training_.resume_job = steer("resume", v1::TrainingJob::RUNNING);
  EXPECT_EQ(Run({"train", "resume", "7"}).output, "job 7 is running at step 20 of 20\n");
  training_.resume_job = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "it is not paused");
  };
  const auto refused = Run({"train", "resume", "7"});
  EXPECT_EQ(refused.exit_status, Exited(1));
  EXPECT_THAT(refused.error, HasSubstr("it is not paused"));
}

TEST_F(CliTrainTest, CheckpointsAreListedAndPublished) {
  training_.list_checkpoints = [](const auto& request, auto& response) {
    v1::Checkpoint& checkpoint = *response.add_checkpoints();
    checkpoint.set_name(request.parent() + "/checkpoints/500");
    checkpoint.set_step(500);
    checkpoint.set_size_bytes(3700000);
    return grpc::Status::OK;
  };
  std::vector<std::string> published;
  training_.publish = [&](const auto& request, auto& model) {
    published.push_back(request.ShortDebugString());
    model.set_name(request.model());
    return grpc::Status::OK;
  };
  EXPECT_THAT(Run({"train", "checkpoints", "7"}).output, HasSubstr("500   3.7 MB  -\n"));
  EXPECT_THAT(Run({"train", "publish", "7", "--model", "mine"}).output, StartsWith("mine\n"));
  EXPECT_EQ(Run({"train", "publish", "7", "-m", "mine", "--step", "500", "--ema-decay", "0.9",
                 "--allow-replace", "--precision", "float16"})
                .exit_status,
            Exited(0));
  EXPECT_THAT(published, ElementsAre("source: \"trainingJobs/7\" model: \"models/mine\"",
                                     "source: \"trainingJobs/7/checkpoints/500\" ema_decay: 0.9 "
                                     "model: \"models/mine\" allow_replace: true "
                                     "precision: FLOAT16"));
}

TEST_F(CliTrainTest, WithoutCheckpointsItSaysWhenTheFirstOneComes) {
  training_.list_checkpoints = [](const auto&, auto&) { return grpc::Status::OK; };
  job_.set_state(v1::TrainingJob::RUNNING);
  job_.set_steps_done(10);
  job_.set_steps_total(2000);
  job_.mutable_training()->set_max_steps(2000);
  job_.mutable_training()->mutable_checkpoints()->set_every_n_steps(500);
  EXPECT_EQ(
      Run({"train", "checkpoints", "7"}).output,
      "No checkpoints yet. The first one comes after step 500; job 7 is running at step 10 of "
      "2000.\n");
  job_.set_state(v1::TrainingJob::CANCELLED);
  EXPECT_EQ(Run({"train", "checkpoints", "7"}).output, "No checkpoints.\n");
}

TEST_F(CliTrainTest, AnEvaluationIsAskedForAndItsNumbersAreShown) {
  job_.mutable_evaluation()->set_dataset("datasets/emoji");
  v1::EvaluationResult& numbers = *job_.mutable_evaluation_result();
  numbers.set_frechet_distance(12.5);
  numbers.set_coverage(0.75);
  *numbers.mutable_nearest_neighbours_sheet() = Picture();
  v1::TrainingEvent evaluated, end = StateEvent(v1::TrainingJob::SUCCEEDED);
  evaluated.set_sequence(2);
  *evaluated.mutable_evaluation() = numbers;
  end.set_sequence(3);
  v1::TrainingEvent progress = ProgressEvent(40, 0);
  progress.set_sequence(1);
  Serve({progress, evaluated, end});
  const auto result = Run({"evaluate", "-m", "shapes", "-d", "emoji", "--samples", "40", "--steps",
                           "3", "--bits-per-dim", "8", "--out", out().string()});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_EQ(created_[0].ShortDebugString(),
            "evaluation { model: \"models/shapes\" dataset: \"datasets/emoji\" sample_count: 40 "
            "sampler { steps: 3 } bits_per_dim_pictures: 8 }");
  EXPECT_THAT(result.output, AllOf(StartsWith("job 7 "),
                                   HasSubstr(" follows it\n40 pictures\nFrechet distance 12.5  pr"),
                                   HasSubstr("coverage 0.750\n")));
  EXPECT_EQ(ReadFile(out() / "nearest-neighbours-step-00000000.png"), Picture().data());
  EXPECT_FALSE(fs::exists(out() / "loss.csv")) << "nothing was trained";
}

TEST_F(CliTrainTest, ABrokenSampleGridIsAnErrorOfTheServer) {
  std::vector<v1::TrainingEvent> events = WholeJob();
  events[3].mutable_sample_grid()->mutable_image()->set_data("GIF89a");
  Serve(events);
  const auto result = Run({"train", "watch", "7"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("the server sent a broken png image"));
}

TEST(CliTrain, HelpBeginsWithWhatACommandCannotDoWithout) {
  const auto usage = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.push_back("--help");
    const std::vector<std::string> lines =
        absl::StrSplit(RunProcess(arguments, kPatience)->output, '\n');
    return lines.at(1);
  };
  EXPECT_EQ(usage({"train", "create"}),
            "Usage: denoise train create --dataset NAME --max-steps N [OPTIONS]");
  EXPECT_EQ(usage({"train", "publish"}), "Usage: denoise train publish --model NAME [OPTIONS] job");
  EXPECT_EQ(usage({"generations", "pause"}),
            "Usage: denoise generations pause --out FILE [OPTIONS] generation");
  EXPECT_EQ(usage({"evaluate"}), "Usage: denoise evaluate --dataset NAME [OPTIONS]");
  EXPECT_EQ(usage({"models"}), "Usage: denoise models [OPTIONS] [name] [SUBCOMMAND]");
}

TEST(CliTrain, HelpHasExamplesAndExitCodes) {
  const std::vector<std::string> commands[] = {{"train"},
                                               {"train", "create"},
                                               {"train", "watch"},
                                               {"train", "list"},
                                               {"train", "get"},
                                               {"train", "cancel"},
                                               {"train", "pause"},
                                               {"train", "resume"},
                                               {"train", "delete"},
                                               {"train", "checkpoints"},
                                               {"train", "publish"},
                                               {"datasets"},
                                               {"datasets", "upload"},
                                               {"datasets", "list"},
                                               {"datasets", "report"},
                                               {"datasets", "delete"},
                                               {"evaluate"}};
  for (std::vector<std::string> arguments : commands) {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.push_back("--help");
    const auto result = RunProcess(arguments, kPatience);
    EXPECT_EQ(result->exit_status, Exited(0));
    EXPECT_THAT(result->output,
                AllOf(HasSubstr("Examples:"), HasSubstr("Exit codes:"), Not(HasSubstr("... ..."))));
    EXPECT_THAT(std::vector<std::string>(absl::StrSplit(result->output, '\n')),
                Each(SizeIs(Le(80))))
        << arguments[1];
  }
}

}  // namespace
}  // namespace denoise
