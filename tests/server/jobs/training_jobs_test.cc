// Jobs from request to published model, on a real engine and a small network.
#include "server/jobs/training_jobs.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/sha256.h"
#include "core/io/model_files.h"
#include "server/jobs/event_log.h"
#include "server/jobs/ingest.h"
#include "tests/core/io/full_disk.h"
#include "tests/server/jobs/state_testing.h"

namespace denoise {
namespace {

using denoised::v1::CreateTrainingJobRequest;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
using denoised::v1::TrainingSettings;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(60);

// Ten digits of two shades, as MNIST has them.
std::string Digits() {
  std::string bytes;
  const auto add = [&](std::initializer_list<uint32_t> words) {
    for (const uint32_t word : words) {
      for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(char(word >> shift & 0xFF));
    }
  };
  add({0x803, 10, 8, 8});
  for (int i = 0; i < 10; ++i) bytes.append(64, char(i % 2 == 0 ? 40 + i : 200 + i));
  add({0x801, 10});
  for (int i = 0; i < 10; ++i) bytes.push_back(char(i % 2));
  return bytes;
}

// A server, as far as training is concerned.
class Server {
 public:
  Server(const std::filesystem::path& folder, FakeClock* clock, int max_running_jobs = 1)
      : state_(OpenState::Unwrap(StateDir::Open(folder / "state"))),
        database_(OpenState::Unwrap(Database::Open(state_.database()))),
        data_sets_(OpenState::Unwrap(
            DataSetStore::Open(database_.get(), &state_, {}, IngestUpload, clock))),
        models_folder_(folder / "models", {}),
        models_(OpenState::Unwrap(models_folder_.Load()).models),
        engine_({.max_batch_rows = 4, .max_active_rows = 4}, Clock::Real(), nullptr),
        jobs_(OpenState::Unwrap(
            TrainingJobs::Start({.state = &state_,
                                 .database = database_.get(),
                                 .data_sets = data_sets_.get(),
                                 .engine = &engine_,
                                 .models = &models_,
                                 .models_folder = &models_folder_,
                                 .clock = clock},
                                {.max_running_jobs = max_running_jobs, .max_waiting_jobs = 3}))) {}

  TrainingJobs& jobs() { return *jobs_; }
  DataSetStore& data_sets() { return *data_sets_; }
  ModelRepository& models() { return models_; }
  const StateDir& state() const { return state_; }

 private:
  StateDir state_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<DataSetStore> data_sets_;
  ModelsFolder models_folder_;
  ModelRepository models_;
  Engine engine_;
  std::unique_ptr<TrainingJobs> jobs_;
};

class TrainingJobsTest : public ::testing::Test {
 protected:
  TrainingJobsTest() {
    std::filesystem::create_directories(folder() / "models");
    Start();
    Upload();
  }

  std::filesystem::path folder() const { return temp_.path() / "server"; }
  TrainingJobs& jobs() { return server_->jobs(); }

  void Start(int max_running_jobs = 1) {
    server_.reset();
    server_ = std::make_unique<Server>(folder(), &clock_, max_running_jobs);
  }
  // What a server finds that is started after the machine has lost its power now.
  void LosePower() {
    const auto copy = temp_.path() / std::to_string(copies_++);
    CopyState(folder(), copy);
    server_.reset();
    std::filesystem::remove_all(folder());
    std::filesystem::rename(copy, folder());
    Start();
  }

  void Upload() {
    const std::string bytes = Digits();
    Sha256 hash;
    hash.Update(bytes);
    denoised::v1::UploadHeader header;
    header.set_name("datasets/digits");
    header.set_format(denoised::v1::DATASET_FORMAT_MNIST);
    header.set_total_bytes(static_cast<int64_t>(bytes.size()));
    header.set_sha256(absl::HexStringToBytes(hash.Finish()));
    auto upload = OpenState::Unwrap(server_->data_sets().BeginUpload(header));
    denoised::v1::UploadChunk chunk;
    chunk.set_data(bytes);
    ASSERT_TRUE(upload->Append(chunk).ok());
    std::promise<absl::StatusOr<denoised::v1::Dataset>> read;
    ASSERT_TRUE(upload->Finish([&](const auto& result) { read.set_value(result); }).ok());
    const auto data_set = read.get_future().get();
    ASSERT_TRUE(data_set.ok()) << data_set.status();
  }

  // A job whose steps take some milliseconds.
  static CreateTrainingJobRequest Request(int64_t max_steps) {
    CreateTrainingJobRequest request;
    TrainingSettings& settings = *request.mutable_training();
    settings.set_dataset("datasets/digits");
    auto& network = *settings.mutable_new_network();
    network.set_height(8);
    network.set_width(8);
    network.set_channels(1);
    network.add_block_out_channels(8);
    network.set_layers_per_block(1);
    network.set_no_attention(true);
    settings.set_max_steps(max_steps);
    settings.set_batch_size(4);
    settings.set_micro_batch_size(2);
    settings.set_seed(11);
    settings.mutable_checkpoints()->set_every_n_steps(5);
    settings.mutable_samples()->set_every_n_steps(10);
    settings.mutable_samples()->set_count(2);
    settings.mutable_samples()->mutable_sampler()->set_steps(2);
    return request;
  }
  std::string Create(const CreateTrainingJobRequest& request) {
    const auto job = jobs().Create(request);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }
  TrainingJob Get(const std::string& name) {
    denoised::v1::GetTrainingJobRequest request;
    request.set_name(name);
    return *jobs().Get(request);
  }
  template <class Request>
  static Request Named(const std::string& name) {
    Request request;
    request.set_name(name);
    return request;
  }
  absl::StatusOr<TrainingJob> Pause(const std::string& name) {
    return jobs().Pause(Named<denoised::v1::PauseTrainingJobRequest>(name));
  }
  absl::StatusOr<TrainingJob> Resume(const std::string& name) {
    return jobs().Resume(Named<denoised::v1::ResumeTrainingJobRequest>(name));
  }
  absl::StatusOr<TrainingJob> Cancel(const std::string& name) {
    return jobs().Cancel(Named<denoised::v1::CancelTrainingJobRequest>(name));
  }
  absl::Status Delete(const std::string& name) {
    return jobs().Delete(Named<denoised::v1::DeleteTrainingJobRequest>(name));
  }

  TrainingJob Wait(const std::string& name, const std::function<bool(const TrainingJob&)>& until) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (absl::Now() < deadline) {
      TrainingJob job = Get(name);
      if (until(job)) return job;
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << name << " is still " << Get(name).ShortDebugString();
    return Get(name);
  }
  TrainingJob WaitFor(const std::string& name, TrainingJob::State state) {
    return Wait(name, [&](const TrainingJob& job) {
      return job.state() == state || (IsOver(job.state()) && !IsOver(state));
    });
  }
  TrainingJob WaitForStep(const std::string& name, int64_t step) {
    return Wait(name, [&](const TrainingJob& job) { return job.steps_done() >= step; });
  }

  std::vector<TrainingEvent> Events(const std::string& name, int64_t after = 0) {
    denoised::v1::WatchTrainingJobRequest request;
    request.set_name(name);
    request.set_resume_after(after);
    auto watcher = *jobs().Watch(request, [] {});
    std::vector<TrainingEvent> events;
    while (auto event = *watcher->Next()) events.push_back(*std::move(event));
    return events;
  }
  std::vector<TrainingJob::State> States(const std::string& name) {
    std::vector<TrainingJob::State> states;
    for (const TrainingEvent& event : Events(name)) {
      if (event.has_state_change()) states.push_back(event.state_change().state());
    }
    return states;
  }

  absl::StatusOr<ModelHandle> Publish(const std::string& source, const std::string& model,
                                      bool allow_replace = false) {
    denoised::v1::PublishModelRequest request;
    request.set_source(source);
    request.set_model("models/" + model);
    request.set_allow_replace(allow_replace);
    return jobs().Publish(request);
  }
  StateDict Weights(const std::string& model) {
    return LoadModelFiles(folder() / "models" / model)->weights;
  }

  TempDir temp_;
  FakeClock clock_;
  std::unique_ptr<Server> server_;
  int copies_ = 0;
};

bool SameWeights(const StateDict& a, const StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && at::equal(x.second, y.second);
  });
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const auto& violation : GetFieldViolations(status)) fields.push_back(violation.field);
  return fields;
}

TEST_F(TrainingJobsTest, AJobRunsToItsEndAndBecomesAModel) {
  const std::string name = Create(Request(12));

  const TrainingJob job = WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_EQ(job.steps_done(), 12);
  EXPECT_EQ(job.steps_total(), 12);
  EXPECT_EQ(job.progress().step(), 12);
  EXPECT_EQ(job.latest_checkpoint(), name + "/checkpoints/12");
  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::SUCCEEDED));
  const auto published = Publish(name, "digits");
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_EQ((*published)->spec.height, 8);
  EXPECT_EQ((*published)->id2label.at(1), "1");
  EXPECT_EQ(server_->models().Find("digits")->version, (*published)->version);
  EXPECT_EQ(Events(name).back().published().model(), "models/digits");
  EXPECT_EQ(Events(name).back().published().step(), 12);
}

TEST_F(TrainingJobsTest, WhatWasResolvedIsEchoed) {
  CreateTrainingJobRequest request = Request(12);
  request.mutable_training()->clear_seed();
  request.set_priority(3);
  (*request.mutable_labels())["team"] = "vision";

  const TrainingJob job = *jobs().Create(request);

  const TrainingSettings& settings = job.training();
  EXPECT_EQ(job.priority(), 3);
  EXPECT_EQ(job.labels().at("team"), "vision");
  EXPECT_TRUE(settings.has_seed());
  EXPECT_EQ(settings.new_network().prediction_type(), "v_prediction");
  EXPECT_TRUE(settings.new_network().class_conditional());
  EXPECT_EQ(settings.objective().loss(), denoised::v1::Objective::SIMPLE);
  EXPECT_EQ(settings.objective().label_dropout(), 0.1);
  EXPECT_FALSE(settings.objective().has_min_snr_gamma());
  EXPECT_EQ(settings.optimizer().learning_rate(), 1e-4);
  EXPECT_THAT(settings.ema_decays(), ElementsAre(0.999));
  EXPECT_EQ(settings.precision(), TrainingSettings::FLOAT32);
  EXPECT_EQ(settings.checkpoints().keep(), 2);
  EXPECT_EQ(settings.samples().guidance_scale(), 2);
  EXPECT_EQ(settings.samples().sampler().steps(), 2);
  EXPECT_NE(settings.samples().sampler().sampler(), 0);
}

TEST_F(TrainingJobsTest, EverythingThatIsWrongIsNamed) {
  CreateTrainingJobRequest request = Request(0);
  request.mutable_training()->mutable_optimizer()->set_learning_rate(-1);
  request.mutable_training()->mutable_objective()->set_min_snr_gamma(5);
  request.mutable_training()->mutable_samples()->set_count(100);
  request.mutable_training()->mutable_samples()->mutable_sampler()->set_steps(-3);
  request.mutable_training()->mutable_checkpoints()->set_every_n_steps(0);

  const absl::Status status = jobs().Create(request).status();

  EXPECT_THAT(
      FieldsOf(status),
      UnorderedElementsAre("training.max_steps", "training.optimizer.learning_rate",
                           "training.objective.min_snr_gamma", "training.samples.count",
                           "training.samples.sampler.steps", "training.checkpoints.every_n_steps"));
  request = Request(1);
  request.mutable_training()->mutable_new_network()->set_height(1 << 20);
  EXPECT_THAT(FieldsOf(jobs().Create(request).status()), Contains("training.new_network.height"));
  EXPECT_THAT(FieldsOf(jobs().Create({}).status()), ElementsAre("work"));
  EXPECT_TRUE(std::filesystem::is_empty(server_->state().jobs()));
}

TEST_F(TrainingJobsTest, ARetryFindsItsJobAndAnotherRequestIsRefused) {
  CreateTrainingJobRequest request = Request(3);
  request.set_request_id("once");
  const std::string name = Create(request);

  EXPECT_EQ(Create(request), name);
  request.mutable_training()->set_max_steps(4);
  EXPECT_EQ(jobs().Create(request).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(TrainingJobsTest, JobsRunOneByOneByPriorityThenAge) {
  const std::string first = Create(Request(1000));
  WaitForStep(first, 1);
  CreateTrainingJobRequest request = Request(1);
  const std::string second = Create(request);
  request.set_priority(5);
  const std::string third = Create(request);
  EXPECT_EQ(Get(second).state(), TrainingJob::QUEUED);
  Create(request);
  EXPECT_EQ(GetQuotaViolation(jobs().Create(request).status())->subject, "trainingJobs");
  clock_.Advance(absl::Seconds(1));

  ASSERT_TRUE(Cancel(first).ok());
  WaitFor(second, TrainingJob::SUCCEEDED);

  EXPECT_EQ(Get(first).state(), TrainingJob::CANCELLED);
  EXPECT_EQ(Get(third).state(), TrainingJob::SUCCEEDED);
}

TEST_F(TrainingJobsTest, SeveralRunAtOnceWhereTheyMay) {
  Start(/*max_running_jobs=*/2);
  const std::string first = Create(Request(100000));
  const std::string second = Create(Request(100000));
  WaitForStep(first, 1);
  WaitForStep(second, 1);
  EXPECT_EQ(Get(first).state(), TrainingJob::RUNNING);
  Start(/*max_running_jobs=*/1);

  WaitFor(second, TrainingJob::QUEUED);

  EXPECT_EQ(Get(first).state(), TrainingJob::RUNNING);
  EXPECT_THAT(Get(second).state_reason(), HasSubstr("fewer"));
}

TEST_F(TrainingJobsTest, APausedJobKeepsWhatItHasAndEndsAsAnUndisturbedOne) {
  const std::string undisturbed = Create(Request(30));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  const std::string name = Create(Request(30));
  WaitForStep(name, 7);

  ASSERT_TRUE(Pause(name).ok());
  const TrainingJob paused = WaitFor(name, TrainingJob::PAUSED);
  EXPECT_GE(paused.steps_done(), 7);
  EXPECT_LT(paused.steps_done(), 30);
  EXPECT_EQ(paused.latest_checkpoint(),
            name + "/checkpoints/" + std::to_string(paused.steps_done()));
  Start();
  EXPECT_EQ(Get(name).state(), TrainingJob::PAUSED);
  ASSERT_TRUE(Resume(name).ok());
  WaitFor(name, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(name, "paused").ok());
  EXPECT_TRUE(SameWeights(Weights("paused"), Weights("undisturbed")));
  EXPECT_FALSE(Resume(name).ok());
}

TEST_F(TrainingJobsTest, AJobThatIsStoppedOrLosesPowerGoesOnByItself) {
  const std::string undisturbed = Create(Request(40));
  WaitFor(undisturbed, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(undisturbed, "undisturbed").ok());
  const std::string name = Create(Request(40));
  int64_t heard = 0;
  for (const int64_t step : {3, 8, 17, 26, 33}) {
    WaitForStep(name, step);
    heard = Events(name).back().sequence();
    step % 2 == 0 ? Start() : LosePower();
    EXPECT_GE(Events(name).back().sequence(), heard);
  }
  WaitFor(name, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(name, "disturbed").ok());
  EXPECT_TRUE(SameWeights(Weights("disturbed"), Weights("undisturbed")));
  std::set<std::pair<int, int64_t>> told;
  int64_t sequence = 0;
  for (const TrainingEvent& event : Events(name)) {
    EXPECT_EQ(event.sequence(), ++sequence);
    const std::optional<int64_t> step = StepOf(event);
    if (!step) continue;
    EXPECT_TRUE(told.emplace(event.event_case(), *step).second) << event.ShortDebugString();
  }
  for (int64_t step = 1; step <= 40; ++step)
    EXPECT_TRUE(told.contains({TrainingEvent::kProgress, step})) << step;
  for (int64_t step = 10; step <= 40; step += 10)
    EXPECT_TRUE(told.contains({TrainingEvent::kSampleGrid, step})) << step;
}

TEST_F(TrainingJobsTest, ACancellationOutlivesTheServer) {
  const std::string name = Create(Request(100000));
  WaitForStep(name, 1);
  ASSERT_TRUE(Cancel(name).ok());
  LosePower();

  EXPECT_EQ(WaitFor(name, TrainingJob::CANCELLED).state(), TrainingJob::CANCELLED);
  EXPECT_TRUE(IsOver(Get(name).state()));
}

TEST_F(TrainingJobsTest, ALossThatIsNotFiniteGoesBackOnceThenFails) {
  CreateTrainingJobRequest request = Request(100);
  request.mutable_training()->mutable_optimizer()->set_learning_rate(1e30);
  request.mutable_training()->set_max_non_finite_steps(3);
  const std::string name = Create(request);

  const TrainingJob job = WaitFor(name, TrainingJob::FAILED);

  EXPECT_FALSE(job.state_reason().empty());
  int notices = 0;
  for (const TrainingEvent& event : Events(name)) notices += event.notice().empty() ? 0 : 1;
  EXPECT_EQ(notices, 1);
  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::FAILED));
}

TEST_F(TrainingJobsTest, AFullDiskPausesUntilThereIsRoom) {
  CreateTrainingJobRequest request = Request(12);
  request.mutable_training()->mutable_new_network()->set_block_out_channels(0, 64);
  request.mutable_training()->mutable_samples()->set_every_n_steps(0);
  std::string name;
  {
    const FullDisk full(4 << 20, FullDisk::Then::kError);
    name = Create(request);
    const TrainingJob paused = WaitFor(name, TrainingJob::PAUSED);
    EXPECT_EQ(paused.state_reason(), "the server's disk is full");
    clock_.Advance(absl::Seconds(31));
    absl::SleepFor(absl::Milliseconds(1500));  // the runner has looked, and there is no room
    EXPECT_EQ(Get(name).state(), TrainingJob::PAUSED);
  }
  clock_.Advance(absl::Seconds(31));

  WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_THAT(States(name),
              ElementsAre(TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::PAUSED,
                          TrainingJob::QUEUED, TrainingJob::RUNNING, TrainingJob::SUCCEEDED));
}

TEST_F(TrainingJobsTest, AServedModelIsTrainedFurtherAndMayChangeMeanwhile) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request = Request(6);
  request.mutable_training()->set_base_model("models/digits");
  const std::string name = Create(request);
  std::filesystem::remove_all(folder() / "models" / "digits");

  EXPECT_EQ(WaitFor(name, TrainingJob::SUCCEEDED).steps_done(), 6);

  request.mutable_training()->set_base_model("models/absent");
  EXPECT_EQ(GetResource(jobs().Create(request).status())->name, "models/absent");
}

TEST_F(TrainingJobsTest, AnEvaluationTellsHowGoodAModelIs) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request;
  auto& settings = *request.mutable_evaluation();
  settings.set_model("models/digits");
  settings.set_dataset("datasets/digits");
  settings.mutable_sampler()->set_steps(2);
  settings.set_features(denoised::v1::EvaluationSettings::PIXELS);
  settings.set_nearest_neighbours(2);
  const std::string name = Create(request);

  const TrainingJob job = WaitFor(name, TrainingJob::SUCCEEDED);

  EXPECT_EQ(job.steps_total(), 10 + 10);
  EXPECT_EQ(job.steps_done(), job.steps_total());
  EXPECT_EQ(job.evaluation_result().samples(), 10);
  EXPECT_EQ(job.evaluation_result().pictures(), 10);
  EXPECT_GT(job.evaluation_result().frechet_distance(), 0);
  EXPECT_EQ(Publish(name, "other").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainingJobsTest, InceptionFeaturesNeedANetwork) {
  WaitFor(Create(Request(3)), TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish("trainingJobs/1", "digits").ok());
  CreateTrainingJobRequest request;
  request.mutable_evaluation()->set_model("models/digits");
  request.mutable_evaluation()->set_dataset("datasets/digits");
  request.mutable_evaluation()->set_features(denoised::v1::EvaluationSettings::INCEPTION);

  EXPECT_EQ(jobs().Create(request).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainingJobsTest, CheckpointsAreListedTheNewestFirst) {
  const std::string name = Create(Request(12));
  WaitFor(name, TrainingJob::SUCCEEDED);
  denoised::v1::ListCheckpointsRequest request;
  request.set_parent(name);
  request.set_page_size(1);

  const auto first = *jobs().ListCheckpoints(request);
  request.set_page_token(first.next_page_token());
  const auto second = *jobs().ListCheckpoints(request);

  ASSERT_EQ(first.checkpoints_size(), 1);
  EXPECT_EQ(first.checkpoints(0).name(), name + "/checkpoints/12");
  EXPECT_TRUE(first.checkpoints(0).has_create_time());
  ASSERT_EQ(second.checkpoints_size(), 1);
  EXPECT_EQ(second.checkpoints(0).step(), 10);
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("made up");
  EXPECT_THAT(FieldsOf(jobs().ListCheckpoints(request).status()), ElementsAre("page_token"));
}

TEST_F(TrainingJobsTest, AnyCheckpointThatIsKeptCanBePublished) {
  const std::string name = Create(Request(12));
  WaitFor(name, TrainingJob::SUCCEEDED);

  ASSERT_TRUE(Publish(name + "/checkpoints/10", "earlier").ok());

  ASSERT_TRUE(Publish(name, "latest").ok());
  EXPECT_FALSE(SameWeights(Weights("earlier"), Weights("latest")));
  EXPECT_EQ(Publish(name + "/checkpoints/5", "gone").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Publish("models/latest", "x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Publish("trainingJobs/99", "x").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TrainingJobsTest, AModelOfAnotherShapeIsReplacedOnlyWhereThatIsAllowed) {
  const std::string small = Create(Request(1));
  CreateTrainingJobRequest request = Request(1);
  request.mutable_training()->mutable_new_network()->set_height(16);
  const std::string large = Create(request);
  WaitFor(large, TrainingJob::SUCCEEDED);
  ASSERT_TRUE(Publish(small, "digits").ok());
  EXPECT_TRUE(Publish(small, "digits").ok());

  EXPECT_EQ(Publish(large, "digits").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Publish(large, "digits", /*allow_replace=*/true).ok());
}

TEST_F(TrainingJobsTest, AJobThatIsOverIsDeletedWithItsFolder) {
  const std::string name = Create(Request(1));
  WaitFor(name, TrainingJob::SUCCEEDED);
  EXPECT_TRUE(std::filesystem::exists(server_->state().job(1)));

  ASSERT_TRUE(Delete(name).ok());

  EXPECT_FALSE(std::filesystem::exists(server_->state().job(1)));
  EXPECT_EQ(Delete(name).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Create(Request(1)), "trainingJobs/2");
}

TEST_F(TrainingJobsTest, FoldersOfJobsThatNeverCameToBeAreRemoved) {
  std::filesystem::create_directories(server_->state().job(99));
  Start();

  EXPECT_FALSE(std::filesystem::exists(server_->state().job(99)));
}

TEST_F(TrainingJobsTest, AWatcherIsWokenAndHearsEveryEventUntilTheEnd) {
  const std::string name = Create(Request(20));
  std::atomic<int> woken = 0;
  denoised::v1::WatchTrainingJobRequest request;
  request.set_name(name);
  request.set_resume_after(1);
  auto watcher = *jobs().Watch(request, [&] { ++woken; });

  std::vector<int64_t> sequences;
  while (true) {
    const int seen = woken;
    const auto event = *watcher->Next();
    if (event) {
      sequences.push_back(event->sequence());
    } else if (watcher->over()) {
      break;
    } else {
      while (woken == seen) absl::SleepFor(absl::Milliseconds(1));
    }
  }

  for (size_t i = 0; i < sequences.size(); ++i) EXPECT_EQ(sequences[i], int64_t(i) + 2);
  EXPECT_EQ(sequences.size(), Events(name).size() - 1);
  request.set_resume_after(-1);
  EXPECT_THAT(FieldsOf(jobs().Watch(request, [] {}).status()), ElementsAre("resume_after"));
}

TEST_F(TrainingJobsTest, ListsAreFilteredAndPaged) {
  for (int i = 0; i < 3; ++i) Create(Request(1));
  WaitFor("trainingJobs/3", TrainingJob::SUCCEEDED);
  denoised::v1::ListTrainingJobsRequest request;
  request.set_page_size(2);

  const auto first = *jobs().List(request);
  request.set_page_token(first.next_page_token());
  const auto second = *jobs().List(request);

  ASSERT_EQ(first.jobs_size(), 2);
  EXPECT_EQ(first.jobs(0).name(), "trainingJobs/3");
  ASSERT_EQ(second.jobs_size(), 1);
  EXPECT_EQ(second.jobs(0).name(), "trainingJobs/1");
  EXPECT_EQ(second.next_page_token(), "");
  request.Clear();
  request.add_states(TrainingJob::FAILED);
  EXPECT_EQ(jobs().List(request)->jobs_size(), 0);
  request.add_states(static_cast<TrainingJob::State>(77));
  EXPECT_THAT(FieldsOf(jobs().List(request).status()), ElementsAre("states"));
}

}  // namespace
}  // namespace denoise
