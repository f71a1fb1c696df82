#include "server/jobs/datasets/data_set_store.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/mutex.h"
#include "core/base/paging.h"
#include "core/base/status_macros.h"
#include "server/jobs/datasets/data_set_manifest.h"
#include "server/jobs/datasets/data_set_recovery.h"
#include "server/jobs/datasets/data_set_rows.h"
#include "server/jobs/datasets/upload_checks.h"
#include "server/jobs/datasets/upload_spool.h"
#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/resource_names.h"
#include "server/jobs/store/set_aside.h"

namespace denoise {

using denoised::v1::Dataset;
using denoised::v1::UploadChunk;
using denoised::v1::UploadHeader;

namespace {

// How much of an upload may have to be sent again after a crash. Each time costs two syncs.
constexpr char kList[] = "datasets";  // what page tokens are bound to
constexpr char kPrefix[] = "datasets/";
constexpr int64_t kSyncBytes = 8 << 20;

// When to try again after housekeeping has failed.
constexpr absl::Duration kRetryInterval = absl::Minutes(1);

absl::Status BadName() {
  return InvalidField("name", "must be \"datasets/\" and a data set's name");
}

// The data set as `viewer` sees it.
Dataset NamedFor(const Identity& viewer, Dataset data_set) {
  data_set.set_name(NameFor(viewer, data_set.name()));
  return data_set;
}

absl::Status CheckUnused(SQLite::Database& connection, int64_t id) {
  const std::optional<int64_t> job = FindUserOfDataSet(connection, id);
  if (!job) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(JobName(*job), " uses the data set and is not over; cancel it first"));
}

}  // namespace

class DataSetStore::Impl {
 public:
  Impl(Database* database, const StateDir* state, const DataSetQuota& quota, IngestFunction ingest,
       const Clock* clock, JobObserver* observer)
      : database_(database),
        state_(state),
        quota_(quota),
        clock_(clock),
        observer_(observer),
        reader_(database, state, quota, std::move(ingest), clock, observer,
                [this] { TryHousekeep(); }) {}

  absl::Status Recover();
  absl::StatusOr<std::unique_ptr<DataSetUpload>> BeginUpload(UploadHeader header,
                                                             const Identity& caller)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Those that the caller sees.
  absl::StatusOr<std::vector<DataSetRow>> Rows(const Identity& caller, const std::string& after,
                                               int limit) const {
    const std::string prefix = caller.sees_all ? "" : FullName(caller.tenant, kPrefix);
    return database_->Read(
        [&](auto& connection) { return ListDataSets(connection, prefix, after, limit); });
  }
  absl::StatusOr<std::vector<DataSetRow>> AllRows() const { return Rows(Anyone(), "", -1); }
  absl::StatusOr<DataSetRow> Find(const std::string& name, const Identity& caller) const;
  absl::Status Delete(const std::string& name, const Identity& caller) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Housekeep() ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop() { reader_.Stop(); }
  std::filesystem::path stored(int64_t id) const { return StoredPath(*state_, id); }

 private:
  class Upload;

  void TryHousekeep();
  absl::StatusOr<std::optional<UploadSpool>> OpenSpool(const DataSetRow& row, int64_t offset) const;
  absl::StatusOr<DataSetRow> FindOrMake(const UploadHeader& header)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveAbandoned() ABSL_LOCKS_EXCLUDED(mutex_);
  // Removes the upload when it has not been continued by then.
  void ExpireUpload(absl::Time last_upload) {
    reader_.HousekeepBy(last_upload + quota_.upload_idle);
  }
  absl::Status Remove(int64_t id);
  // Hands a complete upload over to the reader in the same moment.
  void EndUpload(int64_t id, bool is_complete) ABSL_LOCKS_EXCLUDED(mutex_);

  Database* const database_;
  const StateDir* const state_;
  const DataSetQuota quota_;
  const Clock* const clock_;
  JobObserver* const observer_;
  Mutex mutex_;  // held while a data set is claimed or removed, so that both cannot happen at once
  std::set<int64_t> uploading_ ABSL_GUARDED_BY(mutex_);  // claimed by calls that upload
  DataSetReader reader_;
};

// A call's claim on a data set.
class DataSetStore::Impl::Upload final : public DataSetUpload {
 public:
  // Without a spool every byte has been received, and the upload is being read.
  Upload(Impl* store, int64_t id, int64_t total_bytes, std::optional<UploadSpool> spool,
         const Identity& caller)
      : store_(store),
        id_(id),
        total_bytes_(total_bytes),
        caller_(caller),
        spool_(std::move(spool)) {}

  ~Upload() override {
    if (!claims_) return;
    if (spool_) (void)Sync();
    store_->EndUpload(id_, /*is_complete=*/false);
  }

  absl::Status Append(const UploadChunk& chunk) override {
    const int64_t received = spool_ ? spool_->size() : total_bytes_;
    RETURN_IF_ERROR(CheckChunk(chunk, received));
    const int64_t room = total_bytes_ - received;
    if (static_cast<int64_t>(chunk.data().size()) > room) {
      return InvalidField("chunk.data",
                          absl::StrCat("is beyond header.total_bytes, ", total_bytes_));
    }
    RETURN_IF_ERROR(spool_->Append(chunk.data()));
    return spool_->size() - spool_->synced() >= kSyncBytes ? Sync() : absl::OkStatus();
  }

  absl::Status Finish(std::function<void(absl::StatusOr<Dataset>)> done,
                      std::function<bool()> gone) override {
    if (spool_) RETURN_IF_ERROR(Complete());
    // From here on it belongs to the reader. Once `done` is called, the caller may delete the data
    // set and destroy the store.
    claims_ = false;
    store_->EndUpload(id_, /*is_complete=*/spool_.has_value());
    const auto named = [done = std::move(done), caller = caller_](absl::StatusOr<Dataset> result) {
      if (result.ok()) result = NamedFor(caller, *std::move(result));
      done(std::move(result));
    };
    const DataSetReader::Caller caller = {named, std::move(gone)};
    const bool heard =
        spool_ ? store_->reader_.Add(id_, caller) : store_->reader_.Await(id_, caller);
    if (!heard) named(Result());  // it has been read, or the next server will read it
    return absl::OkStatus();
  }

 private:
  // Syncs the bytes first, so that the row never promises more than the disk has.
  absl::Status Sync() {
    RETURN_IF_ERROR(spool_->Sync());
    return store_->database_->Write([&](SQLite::Database& connection) {
      WriteReceivedBytes(connection, id_, spool_->synced(), store_->clock_->Now());
      return absl::OkStatus();
    });
  }

  // Once this returns OK the upload will be read, whatever happens to the server.
  absl::Status Complete() {
    if (spool_->size() < total_bytes_) {
      return InvalidField("header.total_bytes", absl::StrCat("is ", total_bytes_, ", but only ",
                                                             spool_->size(), " bytes came"));
    }
    RETURN_IF_ERROR(Sync());
    return store_->database_->Write([&](SQLite::Database& connection) {
      WriteDataSetState(connection, id_, Dataset::READING, "", nullptr);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<Dataset> Result() const {
    ASSIGN_OR_RETURN(std::optional<DataSetRow> row, store_->database_->Read([&](auto& connection) {
      return ReadDataSet(connection, id_);
    }));
    if (!row) return absl::NotFoundError("the data set has been deleted");
    if (row->data_set.state() == Dataset::READY) return std::move(row->data_set);
    if (row->data_set.state() == Dataset::FAILED) {
      return absl::InvalidArgumentError(row->data_set.error());
    }
    return absl::UnavailableError("the data set could not be read yet; ask for it later");
  }

  Impl* const store_;
  const int64_t id_;
  const int64_t total_bytes_;
  const Identity caller_;
  std::optional<UploadSpool> spool_;
  bool claims_ = true;  // no other call can upload it
};

absl::Status DataSetStore::Impl::Recover() {
  SetAside set_aside(state_, clock_, observer_);
  RETURN_IF_ERROR(RecoverDataSets(*database_, *state_, set_aside));
  ASSIGN_OR_RETURN(const std::vector<DataSetRow> rows, AllRows());
  for (const DataSetRow& row : rows) {
    if (row.data_set.state() == Dataset::READING) reader_.Add(row.id);
    if (row.data_set.state() == Dataset::UPLOADING) ExpireUpload(row.upload_time);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DataSetUpload>> DataSetStore::Impl::BeginUpload(
    UploadHeader header, const Identity& caller) {
  RETURN_IF_ERROR(CheckUploadHeader(header));
  header.set_name(FullName(caller.tenant, header.name()));
  RETURN_IF_ERROR(RemoveAbandoned());
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const DataSetRow row, FindOrMake(header));
  if (!uploading_.insert(row.id).second) {
    return absl::AbortedError("another call is uploading this data set");
  }
  auto spool = OpenSpool(row, header.offset());
  if (!spool.ok()) {
    uploading_.erase(row.id);
    ExpireUpload(clock_->Now());
    return spool.status();
  }
  return std::make_unique<Upload>(this, row.id, header.total_bytes(), *std::move(spool), caller);
}

// nullopt where every byte was received.
absl::StatusOr<std::optional<UploadSpool>> DataSetStore::Impl::OpenSpool(const DataSetRow& row,
                                                                         int64_t offset) const {
  if (row.data_set.state() != Dataset::UPLOADING) return std::nullopt;
  ASSIGN_OR_RETURN(UploadSpool spool, UploadSpool::Open(UploadPath(*state_, row.id), offset));
  const std::filesystem::path folder = state_->data_set(row.id);
  ASSIGN_OR_RETURN(const auto manifest, ReadStateManifest(folder));
  if (!manifest) RETURN_IF_ERROR(WriteStateManifest(folder, ManifestOf(row)));
  return std::optional<UploadSpool>(std::move(spool));
}

// Replaces a data set that FAILED: there is nothing in it.
absl::StatusOr<DataSetRow> DataSetStore::Impl::FindOrMake(const UploadHeader& header) {
  std::optional<int64_t> replaced;
  auto result = database_->Write([&](SQLite::Database& connection) -> absl::StatusOr<DataSetRow> {
    ASSIGN_OR_RETURN(std::optional<DataSetRow> row, FindDataSet(connection, header.name()));
    if (row && row->data_set.state() == Dataset::FAILED) {
      RETURN_IF_ERROR(CheckOffset(header, 0));
      RETURN_IF_ERROR(CheckUnused(connection, row->id));
      DeleteDataSetRow(connection, row->id);
      replaced = row->id;
    } else if (row) {
      // While a call uploads, only that call knows how many bytes are safe.
      mutex_.AssertHeld();
      const bool claimed = uploading_.contains(row->id);
      if (!claimed) RETURN_IF_ERROR(CheckContinues(header, *row));
      return *std::move(row);
    }
    RETURN_IF_ERROR(CheckOffset(header, 0));
    RETURN_IF_ERROR(CheckQuota(header, quota_, ReadDataSetUsage(connection)));
    const int64_t id = InsertDataSet(connection, header, clock_->Now());
    ASSIGN_OR_RETURN(row, ReadDataSet(connection, id));
    return *std::move(row);
  });
  if (result.ok() && replaced) {
    RETURN_IF_ERROR(MarkRemoved(state_->data_sets(), *replaced));
    RETURN_IF_ERROR(ForgetRemoved(state_->data_sets(), *replaced));
  }
  return result;
}

absl::StatusOr<DataSetRow> DataSetStore::Impl::Find(const std::string& name,
                                                    const Identity& caller) const {
  const OwnedName owned = OwnedNameFrom(caller, name);
  if (!ParseDataSetName(owned.name)) return BadName();
  if (!caller.Sees(owned.tenant)) return ResourceNotFound("data set", name);
  ASSIGN_OR_RETURN(std::optional<DataSetRow> row, database_->Read([&](auto& connection) {
    return FindDataSet(connection, owned.full());
  }));
  if (!row) return ResourceNotFound("data set", name);
  return *std::move(row);
}

absl::Status DataSetStore::Impl::Delete(const std::string& name, const Identity& caller) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const DataSetRow row, Find(name, caller));
  if (uploading_.contains(row.id) || !reader_.Cancel(row.id)) {
    return absl::FailedPreconditionError("the data set is being uploaded");
  }
  return Remove(row.id);
}

// Once the folder is marked, the data set is deleted, whatever happens to the server. The row goes
// first where it can, as only the database knows for sure that no job needs the data set. On a full
// disk the files go first and make room for that.
absl::Status DataSetStore::Impl::Remove(int64_t id) {
  const std::filesystem::path folder = state_->data_sets();
  const auto delete_row = [&](SQLite::Database& connection) -> absl::Status {
    RETURN_IF_ERROR(CheckUnused(connection, id));
    DeleteDataSetRow(connection, id);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(
      database_->Read([&](SQLite::Database& connection) { return CheckUnused(connection, id); }));
  RETURN_IF_ERROR(MarkRemoved(folder, id));
  absl::Status deleted = database_->Write(delete_row);
  if (absl::IsResourceExhausted(deleted)) {
    RETURN_IF_ERROR(EmptyRemoved(folder, id));
    deleted = database_->WriteFreeing(delete_row);
  } else if (!deleted.ok()) {
    RETURN_IF_ERROR(UnmarkRemoved(folder, id));
  }
  RETURN_IF_ERROR(deleted);
  return ForgetRemoved(folder, id);
}

absl::Status DataSetStore::Impl::RemoveAbandoned() {
  const absl::Time oldest = clock_->Now() - quota_.upload_idle;
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::vector<DataSetRow> rows, AllRows());
  for (const DataSetRow& row : rows) {
    if (row.data_set.state() != Dataset::UPLOADING || row.upload_time > oldest) continue;
    if (!uploading_.contains(row.id)) RETURN_IF_ERROR(Remove(row.id));
  }
  return absl::OkStatus();
}

absl::Status DataSetStore::Impl::Housekeep() {
  RETURN_IF_ERROR(RemoveAbandoned());
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const std::vector<DataSetRow> rows, AllRows());
  for (const DataSetRow& row : rows) {
    if (row.data_set.state() == Dataset::READING) reader_.Add(row.id);
    // A call that is uploading asks for this when it ends.
    const bool waits = row.data_set.state() == Dataset::UPLOADING && !uploading_.contains(row.id);
    if (waits) ExpireUpload(row.upload_time);
  }
  return absl::OkStatus();
}

void DataSetStore::Impl::TryHousekeep() {
  const absl::Status status = Housekeep();
  if (status.ok()) return;
  if (observer_ != nullptr) observer_->OnError("housekeeping of data sets failed", status);
  reader_.HousekeepBy(clock_->Now() + kRetryInterval);
}

void DataSetStore::Impl::EndUpload(int64_t id, bool is_complete) {
  const MutexLock lock(mutex_);
  if (is_complete) {
    reader_.Announce(id);
  } else {
    ExpireUpload(clock_->Now());
  }
  uploading_.erase(id);
}

absl::StatusOr<std::unique_ptr<DataSetStore>> DataSetStore::Open(
    Database* database, const StateDir* state, const DataSetQuota& quota, IngestFunction ingest,
    const Clock* clock, JobObserver* observer) {
  auto impl = std::make_unique<Impl>(database, state, quota, std::move(ingest), clock, observer);
  RETURN_IF_ERROR(impl->Recover());
  return std::unique_ptr<DataSetStore>(new DataSetStore(std::move(impl)));
}

DataSetStore::DataSetStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DataSetStore::~DataSetStore() = default;

void DataSetStore::Stop() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<DataSetUpload>> DataSetStore::BeginUpload(const UploadHeader& header,
                                                                         const Identity& caller) {
  return impl_->BeginUpload(header, caller);
}

absl::StatusOr<denoised::v1::ListDatasetsResponse> DataSetStore::List(
    const denoised::v1::ListDatasetsRequest& request, const Identity& caller) const {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  absl::StatusOr<std::string> after = ParsePageToken(kList, request.page_token());
  if (after.ok() && !after->empty() && !ParseDataSetName(ParseFullName(*after).name)) {
    after = BadPageToken();
  }
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", after.status());
  RETURN_IF_ERROR(violations.ToStatus());

  // One more than the page holds tells whether another follows.
  ASSIGN_OR_RETURN(std::vector<DataSetRow> rows, impl_->Rows(caller, *after, *page_size + 1));
  denoised::v1::ListDatasetsResponse response;
  size_t bytes = 0;
  std::string last;
  for (DataSetRow& row : rows) {
    if (row.data_set.has_report()) row.data_set.mutable_report()->clear_contact_sheet();
    bytes += row.data_set.ByteSizeLong();
    if (response.datasets_size() == *page_size ||
        (bytes > kMaxPageBytes && response.datasets_size() > 0)) {
      response.set_next_page_token(PageTokenAfter(kList, last));
      break;
    }
    last = row.data_set.name();
    *response.add_datasets() = NamedFor(caller, std::move(row.data_set));
  }
  return response;
}

absl::StatusOr<Dataset> DataSetStore::Get(const denoised::v1::GetDatasetRequest& request,
                                          const Identity& caller) const {
  ASSIGN_OR_RETURN(DataSetRow row, impl_->Find(request.name(), caller));
  return NamedFor(caller, std::move(row.data_set));
}

absl::Status DataSetStore::Delete(const denoised::v1::DeleteDatasetRequest& request,
                                  const Identity& caller) {
  return impl_->Delete(request.name(), caller);
}

absl::StatusOr<DataSetStore::Stored> DataSetStore::FindReady(const std::string& name,
                                                             const Identity& caller) const {
  ASSIGN_OR_RETURN(DataSetRow row, impl_->Find(name, caller));
  if (row.data_set.state() != Dataset::READY) {
    return absl::FailedPreconditionError(
        absl::StrCat("the data set is ", Dataset::State_Name(row.data_set.state()), ", not READY"));
  }
  return Stored{row.id, impl_->stored(row.id), std::move(row.data_set)};
}

absl::Status DataSetStore::Housekeep() { return impl_->Housekeep(); }

}  // namespace denoise
