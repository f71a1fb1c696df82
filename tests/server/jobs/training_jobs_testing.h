// Jobs from request to published model, on a real engine and a small network.
#pragma once

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/base/field_violations.h"
#include "core/base/mutex.h"
#include "core/base/sha256.h"
#include "core/io/parsed_model.h"
#include "server/jobs/datasets/ingest.h"
#include "server/jobs/training_jobs.h"
#include "tests/server/jobs/store/state_testing.h"

namespace denoise {

using denoised::v1::CreateTrainingJobRequest;
using denoised::v1::TrainingEvent;
using denoised::v1::TrainingJob;
using denoised::v1::TrainingSettings;

// Counts how often something happened. Thread-safe.
class Signal {
 public:
  void Notify() {
    {
      const MutexLock lock(mutex_);
      ++count_;
    }
    changed_.NotifyAll();
  }
  int64_t count() const {
    const MutexLock lock(mutex_);
    return count_;
  }
  // Waits for more notifications than `seen`.
  void WaitForMoreThan(int64_t seen) const {
    const MutexLock lock(mutex_);
    while (count_ <= seen) changed_.Wait(mutex_);
  }

 private:
  mutable Mutex mutex_;
  mutable CondVar changed_;
  int64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Ten digits of two shades, as MNIST has them.
inline std::string Digits() {
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
class TrainingServer {
 public:
  TrainingServer(const std::filesystem::path& folder, FakeClock* clock, int max_running_jobs = 1,
                 int devices = 1)
      : state_(OpenState::Unwrap(StateDir::Open(folder / "state"))),
        database_(OpenState::Unwrap(Database::Open(state_.database()))),
        data_sets_(OpenState::Unwrap(
            DataSetStore::Open(database_.get(), &state_, {}, IngestUpload, clock))),
        live_models_(ModelsFolder(folder / "models"), {}, &models_, &Clock::Real()),
        engine_({.devices = std::vector<at::Device>(devices, at::kCPU),
                 .max_batch_rows = 4,
                 .max_active_rows = 4},
                Clock::Real(), nullptr),
        jobs_(OpenState::Unwrap(
            TrainingJobs::Start({.state = &state_,
                                 .database = database_.get(),
                                 .data_sets = data_sets_.get(),
                                 .engine = &engine_,
                                 .models = &models_,
                                 .live_models = &live_models_,
                                 .clock = clock},
                                {.max_running_jobs = max_running_jobs, .max_waiting_jobs = 3}))) {
    EXPECT_EQ(live_models_.Start(), absl::OkStatus());
  }

  TrainingJobs& jobs() { return *jobs_; }
  DataSetStore& data_sets() { return *data_sets_; }
  ModelRepository& models() { return models_; }
  const StateDir& state() const { return state_; }
  Engine& engine() { return engine_; }

 private:
  StateDir state_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<DataSetStore> data_sets_;
  ModelRepository models_;
  LiveModels live_models_;
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

  void Start(int max_running_jobs = 1, int devices = 1) {
    server_.reset();
    server_ = std::make_unique<TrainingServer>(folder(), &clock_, max_running_jobs, devices);
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
    auto upload = OpenState::Unwrap(server_->data_sets().BeginUpload(header, Anyone()));
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
  // One that does not end by itself within any test.
  static CreateTrainingJobRequest EndlessRequest() { return Request(1'000'000); }
  std::string Create(const CreateTrainingJobRequest& request) {
    const auto job = jobs().Create(request, Anyone());
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->name() : "";
  }
  TrainingJob Get(const std::string& name) {
    denoised::v1::GetTrainingJobRequest request;
    request.set_name(name);
    return *jobs().Get(request, Anyone());
  }
  template <class Request>
  static Request Named(const std::string& name) {
    Request request;
    request.set_name(name);
    return request;
  }
  absl::StatusOr<TrainingJob> Pause(const std::string& name) {
    return jobs().Pause(Named<denoised::v1::PauseTrainingJobRequest>(name), Anyone());
  }
  absl::StatusOr<TrainingJob> Resume(const std::string& name) {
    return jobs().Resume(Named<denoised::v1::ResumeTrainingJobRequest>(name), Anyone());
  }
  absl::StatusOr<TrainingJob> Cancel(const std::string& name) {
    return jobs().Cancel(Named<denoised::v1::CancelTrainingJobRequest>(name), Anyone());
  }
  absl::Status Delete(const std::string& name) {
    return jobs().Delete(Named<denoised::v1::DeleteTrainingJobRequest>(name), Anyone());
  }

  // Looks at the job after each of its changes.
  TrainingJob Wait(const std::string& name, const std::function<bool(const TrainingJob&)>& until) {
    Signal changed;
    const auto watcher = *jobs().Watch(Named<denoised::v1::WatchTrainingJobRequest>(name), Anyone(),
                                       [&] { changed.Notify(); });
    while (true) {
      const int64_t seen = changed.count();
      TrainingJob job = Get(name);
      if (until(job)) return job;
      changed.WaitForMoreThan(seen);
    }
  }
  TrainingJob WaitFor(const std::string& name, TrainingJob::State state) {
    return Wait(name, [&](const TrainingJob& job) {
      return job.state() == state || (IsOver(job.state()) && !IsOver(state));
    });
  }
  TrainingJob PauseAndWait(const std::string& name) {
    EXPECT_TRUE(Pause(name).ok());
    return WaitFor(name, TrainingJob::PAUSED);
  }
  TrainingJob WaitForStep(const std::string& name, int64_t step) {
    return Wait(name, [&](const TrainingJob& job) { return job.steps_done() >= step; });
  }

  std::vector<TrainingEvent> Events(const std::string& name, int64_t after = 0) {
    denoised::v1::WatchTrainingJobRequest request;
    request.set_name(name);
    request.set_resume_after(after);
    auto watcher = *jobs().Watch(request, Anyone(), [] {});
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
    return jobs().Publish(request, Anyone());
  }
  StateDict Weights(const std::string& model) {
    return *ParsedModel::Open(folder() / "models" / model)->LoadWeights();
  }

  TempDir temp_;
  FakeClock clock_;
  std::unique_ptr<TrainingServer> server_;
  int copies_ = 0;
};

inline bool SameWeights(const StateDict& a, const StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && at::equal(x.second, y.second);
  });
}

inline std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const auto& violation : GetFieldViolations(status)) fields.push_back(violation.field);
  return fields;
}

}  // namespace denoise
