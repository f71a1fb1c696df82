#include "server/models/adapter_library.h"

#include <ATen/Functions.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/retry.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/pipeline/adapter_file.h"
#include "server/models/folder_fingerprint.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(1);
// How soon a call that waits for another's reading notices that its caller has gone.
constexpr absl::Duration kCancelInterval = absl::Milliseconds(200);
constexpr int64_t kMib = int64_t{1} << 20;
constexpr size_t kVersionDigits = 32;  // 128 bits
constexpr size_t kMaxRefused = 1000;

int64_t MibOf(int64_t bytes) { return (bytes + kMib - 1) / kMib; }

bool Overflows(const at::Tensor& tensor) {
  return tensor.abs().max().item<float>() > std::numeric_limits<c10::Half>::max();
}

// Whether `dtype` can hold it.
absl::Status CheckRange(const AdapterLayers& layers, at::ScalarType dtype) {
  if (dtype != at::kHalf) return absl::OkStatus();
  for (const auto& [layer, pair] : layers) {
    if (Overflows(pair.down) || Overflows(pair.up)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the weights for ", layer, " exceed float16; try another --dtype"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

AdapterLibrary::AdapterLibrary(AdapterCatalog* catalog, Options options)
    : catalog_(catalog),
      options_(std::move(options)),
      memory_(ModelMemory::Create(options_.memory_bytes_max, options_.on_memory)) {}

absl::StatusOr<std::vector<LoadedAdapter>> AdapterLibrary::Load(
    const Model& model, const std::vector<AdapterFile>& files, const IsCancelled& is_cancelled) {
  std::vector<Wanted> wanted;
  int64_t bytes = 0;
  for (const AdapterFile& file : files) {
    Wanted& one = wanted.emplace_back();
    one.file = &file;
    one.key = {file.path.string(), model.adapters->signature, options_.load.DtypeOf(model.id),
               file.stamp};
    ASSIGN_OR_RETURN(one.bytes, BytesOf(file, model));
    bytes += one.bytes;
  }
  if (!memory_->Holds(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("take ", MibOf(bytes), " MiB together, but the server has ",
                     MibOf(options_.memory_bytes_max), " MiB for adapters (--adapter-memory)"));
  }
  RETURN_IF_ERROR(Claim(wanted, is_cancelled));
  std::vector<Key> claimed;
  for (const Wanted& one : wanted) {
    if (one.loaded.adapter == nullptr) claimed.push_back(one.key);
  }
  const absl::Cleanup release = [&] { Release(claimed); };
  std::vector<LoadedAdapter> loaded;
  for (Wanted& one : wanted) {
    if (is_cancelled && is_cancelled()) return absl::CancelledError("the caller has gone");
    if (one.loaded.adapter == nullptr) RETURN_IF_ERROR(LoadClaimed(one, model));
    loaded.push_back(std::move(one.loaded));
  }
  return loaded;
}

// The original in float32 on the CPU, and a copy for each other place and dtype.
absl::StatusOr<int64_t> AdapterLibrary::BytesOf(const AdapterFile& file, const Model& model) const {
  ASSIGN_OR_RETURN(const int64_t num_parameters, catalog_->CountParameters(file, model));
  const at::ScalarType dtype = options_.load.DtypeOf(model.id);
  std::set<std::pair<std::string, at::ScalarType>> places = {
      {at::Device(at::kCPU).str(), at::kFloat}};
  for (const at::Device& device : options_.load.devices) places.insert({device.str(), dtype});
  if (options_.load.pipeline.text_encoders_on_cpu) {
    places.insert({at::Device(at::kCPU).str(), TextDtypeOnCpu(dtype)});
  }
  int64_t bytes = 0;
  for (const auto& [device, of_copy] : places) {
    bytes += num_parameters * static_cast<int64_t>(c10::elementSize(of_copy));
  }
  return bytes;
}

// Takes what is in memory, and claims the rest for this call to read, once nobody else reads any of
// it. Refused files are an error.
absl::Status AdapterLibrary::Claim(std::vector<Wanted>& wanted, const IsCancelled& is_cancelled) {
  const MutexLock lock(mutex_);
  while (true) {
    bool is_read = false;  // by another call
    for (Wanted& one : wanted) {
      if (FindLoaded(one)) continue;
      const auto refused = refused_.find(one.key);
      if (refused != refused_.end()) return refused->second;
      is_read |= reading_.contains(one.key);
    }
    if (!is_read) break;
    for (Wanted& one : wanted) one.loaded = {};  // to wait with nothing in hand
    read_.WaitUntil(mutex_, absl::Now() + kCancelInterval);
    if (is_cancelled && is_cancelled()) return absl::CancelledError("the caller has gone");
  }
  RETURN_IF_ERROR(Reserve(wanted));
  for (const Wanted& one : wanted) {
    if (one.loaded.adapter == nullptr) reading_.insert(one.key);
  }
  return absl::OkStatus();
}

absl::Status AdapterLibrary::Reserve(std::vector<Wanted>& wanted) {
  int64_t bytes = 0;
  for (const Wanted& one : wanted) {
    if (one.loaded.adapter == nullptr) bytes += one.bytes;
  }
  if (!MakeRoom(bytes)) {
    return UnavailableRetryAfter(
        "the adapters of other requests take all the memory for adapters (--adapter-memory)",
        kRetryDelay);
  }
  for (Wanted& one : wanted) {
    if (one.loaded.adapter == nullptr) one.memory = *memory_->TryReserve(one.bytes);
  }
  return absl::OkStatus();
}

void AdapterLibrary::Release(const std::vector<Key>& claimed) {
  const MutexLock lock(mutex_);
  for (const Key& key : claimed) reading_.erase(key);
  read_.NotifyAll();
}

absl::Status AdapterLibrary::LoadClaimed(Wanted& wanted, const Model& model) {
  absl::StatusOr<LoadedAdapter> read = WithoutExceptions([&] { return Read(wanted, model); });
  // A file that somebody writes to while it is read may be a mixture of two.
  if (FingerprintOfFile(wanted.file->path) != wanted.file->stamp) return FilesHaveChanged();
  if (options_.on_load) options_.on_load(read.ok());
  LogEvent(read.ok() ? spdlog::level::info : spdlog::level::warn,
           read.ok() ? "adapter loaded" : "adapter does not load",
           {{"adapter", AdapterName(wanted.file->id)},
            {"model", ModelName(model.id)},
            {"reason", std::string(read.status().message())}});
  const MutexLock lock(mutex_);
  if (!read.ok()) {
    if (!IsOfTheAdapter(read.status())) return read.status();
    if (refused_.size() >= kMaxRefused) refused_.clear();
    return refused_[wanted.key] = absl::FailedPreconditionError(absl::StrCat(
               AdapterName(wanted.file->id), " does not load: ", read.status().message()));
  }
  loaded_.remove_if([&](const auto& entry) {  // its old version
    return entry.first.path == wanted.key.path && entry.first.signature == wanted.key.signature &&
           entry.first.dtype == wanted.key.dtype;
  });
  loaded_.push_front({wanted.key, *read});
  wanted.loaded = *std::move(read);
  reading_.erase(wanted.key);
  read_.NotifyAll();
  return absl::OkStatus();
}

absl::StatusOr<LoadedAdapter> AdapterLibrary::Read(Wanted& wanted, const Model& model) const {
  ASSIGN_OR_RETURN(const SafetensorsFile file,
                   SafetensorsFile::Open(wanted.file->path, kMaxAdapterBytes));
  ASSIGN_OR_RETURN(const AdapterPlan plan, PlanAdapter(file.header(), *model.adapters));
  Sha256 hash;
  RETURN_IF_ERROR(file.AddTo(hash, "adapter"));
  ASSIGN_OR_RETURN(
      std::shared_ptr<const Adapter> adapter,
      ReadAdapter(file, plan,
                  std::make_shared<const ModelMemory::Reservation>(std::move(wanted.memory))));
  RETURN_IF_ERROR(CheckRange(adapter->network(), wanted.key.dtype));
  for (size_t i = 0; i < model.adapters->texts.size(); ++i) {
    RETURN_IF_ERROR(CheckRange(adapter->text(i), wanted.key.dtype));
  }
  return LoadedAdapter{.id = wanted.file->id,
                       .version = hash.Finish().substr(0, kVersionDigits),
                       .bytes = wanted.bytes,
                       .adapter = std::move(adapter)};
}

bool AdapterLibrary::FindLoaded(Wanted& wanted) {
  const auto found = std::find_if(loaded_.begin(), loaded_.end(),
                                  [&](const auto& entry) { return entry.first == wanted.key; });
  if (found == loaded_.end()) return false;
  loaded_.splice(loaded_.begin(), loaded_, found);
  wanted.loaded = found->second;
  return true;
}

// Drops those that no request holds, the longest unused first.
bool AdapterLibrary::MakeRoom(int64_t bytes) {
  const auto is_idle = [](const auto& entry) { return entry.second.adapter.use_count() == 1; };
  const int64_t free = memory_->free_bytes();
  if (bytes <= free) return true;
  int64_t missing = bytes - free;
  for (const auto& entry : loaded_) {
    if (is_idle(entry)) missing -= entry.second.bytes;
  }
  if (missing > 0) return false;
  while (memory_->free_bytes() < bytes) {
    const auto idle = std::find_if(loaded_.rbegin(), loaded_.rend(), is_idle);
    if (idle == loaded_.rend()) return false;
    loaded_.erase(std::next(idle).base());
  }
  return true;
}

}  // namespace denoise
