// A store of jobs in a temporary folder, and events to put into it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/jobs/datasets/data_set_rows.h"
#include "server/jobs/store/job_store.h"
#include "tests/server/jobs/store/state_testing.h"

namespace denoise {

class JobStoreTest : public ::testing::Test {
 protected:
  JobStore& jobs() { return open_->jobs; }
  FakeClock& clock() { return open_->clock; }

  // What the next start of the server finds.
  void Reopen() {
    open_.reset();
    open_ = std::make_unique<OpenState>(temp_.path() / "state");
  }

  int64_t Create(const std::string& request_id = "", int priority = 0) {
    JobStore::NewJob job = NewJob(request_id);
    job.job.set_priority(priority);
    const auto created = jobs().Create(job);
    EXPECT_TRUE(created.ok()) << created.status();
    return job.id;
  }

  JobStore::NewJob NewJob(const std::string& request_id = "") {
    JobStore::NewJob job;
    job.id = *jobs().ReserveId();
    job.request_id = request_id;
    job.request_hash = "hash of " + request_id;
    job.job.mutable_training()->set_max_steps(1000);
    job.job.set_steps_total(1000);
    (*job.job.mutable_labels())["team"] = "vision";
    job.max_waiting = 100;
    return job;
  }

  std::vector<denoised::v1::TrainingEvent> Events(int64_t id, int64_t after = 0) {
    const auto events = jobs().EventsAfter(id, after, 1000);
    EXPECT_TRUE(events.ok()) << events.status();
    return events->events;
  }

  int64_t MakeDataSet(denoised::v1::Dataset::State state) {
    return *open_->database->Write([&](SQLite::Database& connection) -> absl::StatusOr<int64_t> {
      denoised::v1::UploadHeader header;
      header.set_name("datasets/emoji");
      header.set_sha256("hash");
      const int64_t id = InsertDataSet(connection, header, absl::UnixEpoch());
      WriteDataSetState(connection, id, state, "", nullptr);
      return id;
    });
  }

  // As somebody else would.
  void Execute(const std::string& sql) {
    const absl::Status status = open_->database->Write([&](SQLite::Database& connection) {
      connection.exec(sql);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
  }

  TempDir temp_;
  std::unique_ptr<OpenState> open_ = std::make_unique<OpenState>(temp_.path() / "state");
};

inline denoised::v1::TrainingEvent Progress(int64_t step, double loss = 0.5) {
  denoised::v1::TrainingEvent event;
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_loss(loss);
  return event;
}

inline denoised::v1::TrainingEvent Checkpoint(int64_t step) {
  denoised::v1::TrainingEvent event;
  event.mutable_checkpoint()->set_step(step);
  return event;
}

inline denoised::v1::TrainingEvent Notice(const std::string& text) {
  denoised::v1::TrainingEvent event;
  event.set_notice(text);
  return event;
}

}  // namespace denoise
