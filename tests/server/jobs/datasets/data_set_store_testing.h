// A store of data sets whose reading of uploads is the test's.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/base/sha256.h"
#include "server/jobs/datasets/data_set_store.h"
#include "tests/server/jobs/store/state_testing.h"

namespace denoise {

inline std::string Sha256Of(const std::string& bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return absl::HexStringToBytes(hash.Finish());
}

inline denoised::v1::UploadHeader HeaderOf(const std::string& bytes,
                                           const std::string& name = "datasets/emoji") {
  denoised::v1::UploadHeader header;
  header.set_name(name);
  header.set_format(denoised::v1::DATASET_FORMAT_TAR);
  header.set_total_bytes(static_cast<int64_t>(bytes.size()));
  header.set_sha256(Sha256Of(bytes));
  return header;
}

inline denoised::v1::UploadChunk Chunk(const std::string& bytes) {
  denoised::v1::UploadChunk chunk;
  chunk.set_data(bytes);
  return chunk;
}

// A reader of uploads that counts bytes, and does what the first byte says.
class FakeIngest {
 public:
  IngestResult operator()(denoised::v1::DatasetFormat, const std::filesystem::path& upload,
                          const std::filesystem::path& stored,
                          const IngestProgressFunction& progress) {
    if (gate) gate->wait();
    EXPECT_FALSE(std::filesystem::exists(stored));
    std::string bytes = ReadFile(upload);
    const int reads_so_far = ++reads;
    IngestResult result;
    result.report.set_pictures(static_cast<int64_t>(bytes.size()));
    if (stored_bytes) bytes.resize(*stored_bytes, ' ');
    result.status = progress(static_cast<int64_t>(bytes.size()));
    if (after_growing) after_growing();
    if (result.status.ok()) WriteFile(stored, bytes);
    if (bytes[0] == 'E') result.status = absl::InvalidArgumentError("holds no picture");
    if (bytes[0] == 'D' && reads_so_far == 1) result.status = absl::ResourceExhaustedError("full");
    // An archive without end: only a server that stops ends the reading.
    while (bytes[0] == 'W' && result.status.ok()) result.status = progress(0);
    if (bytes[0] == 'T') throw std::runtime_error("/secret/path");
    return result;
  }

  std::shared_future<void>* gate = nullptr;
  std::optional<size_t> stored_bytes;   // else as many as were uploaded
  std::function<void()> after_growing;  // once it was told whether it may
  std::atomic<int> reads = 0;
};

// Remembers what was reported about recovery. Thread-safe, as recovery is on one thread.
class RecordedRecovery : public JobObserver {
 public:
  void OnJobState(const std::string&, denoised::v1::TrainingJob::State,
                  const std::string&) override {}
  void OnRunningJobs(int) override {}
  void OnTrainingStep(const std::string&, const TrainedStep&) override {}
  void OnRecovery(std::string_view what, std::string_view item, std::string_view) override {
    lines.push_back(std::string(what).append(" ").append(item));
  }
  void OnError(std::string_view, const absl::Status&) override {}

  std::vector<std::string> lines;  // "taken up again datasets/emoji"
};

class DataSetStoreTest : public ::testing::Test {
 protected:
  DataSetStoreTest() { Open(); }

  // What the next start of the server finds.
  void Reopen() {
    store_.reset();
    open_.reset();
    Open();
  }
  void Open() {
    open_ = std::make_unique<OpenState>(temp_.path() / "state");
    store_ = OpenStore(*open_);
  }
  std::unique_ptr<DataSetStore> OpenStore(OpenState& state) {
    return OpenState::Unwrap(DataSetStore::Open(
        state.database.get(), &state.state, quota_,
        [this](auto format, const auto& upload, const auto& stored, const auto& progress) {
          return ingest_(format, upload, stored, progress);
        },
        &state.clock, &observer_));
  }

  // Sends the rest of `bytes` in one go and waits.
  absl::StatusOr<denoised::v1::Dataset> Upload(const std::string& bytes, int64_t offset = 0,
                                               const std::string& name = "datasets/emoji") {
    denoised::v1::UploadHeader header = HeaderOf(bytes, name);
    header.set_offset(offset);
    auto upload = store_->BeginUpload(header, Anyone());
    if (!upload.ok()) return upload.status();
    if (offset < header.total_bytes()) {
      const absl::Status appended = (*upload)->Append(Chunk(bytes.substr(offset)));
      if (!appended.ok()) return appended;
    }
    return Finish(**upload);
  }
  static absl::StatusOr<denoised::v1::Dataset> Finish(DataSetUpload& upload) {
    std::promise<absl::StatusOr<denoised::v1::Dataset>> result;
    const absl::Status status = upload.Finish(
        [&](absl::StatusOr<denoised::v1::Dataset> data_set) { result.set_value(data_set); });
    if (!status.ok()) return status;
    return result.get_future().get();
  }
  absl::StatusOr<denoised::v1::Dataset> Get(const std::string& name = "datasets/emoji") {
    denoised::v1::GetDatasetRequest request;
    request.set_name(name);
    return store_->Get(request, Anyone());
  }
  absl::Status Delete(const std::string& name = "datasets/emoji") {
    denoised::v1::DeleteDatasetRequest request;
    request.set_name(name);
    return store_->Delete(request, Anyone());
  }
  int64_t CreateJobOn(int64_t data_set) {
    JobStore::NewJob job;
    job.id = *open_->jobs.ReserveId();
    job.data_sets = {data_set};
    job.max_waiting = 10;
    const auto created = open_->jobs.Create(job);
    EXPECT_TRUE(created.ok()) << created.status();
    return job.id;
  }

  TempDir temp_;
  DataSetQuota quota_ = {.data_sets = 3, .total_bytes = 100 << 20, .data_set_bytes = 50 << 20};
  FakeIngest ingest_;
  RecordedRecovery observer_;
  std::unique_ptr<OpenState> open_;
  std::unique_ptr<DataSetStore> store_;
};

}  // namespace denoise
