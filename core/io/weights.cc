#include "core/io/weights.h"

#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr size_t kMaxIndexBytes = size_t{16} << 20;
constexpr size_t kMaxShards = 256;  // each is open while a model is loaded
// One value per tensor, and a few more.
constexpr JsonOptions kIndexOptions = {.max_bytes = kMaxIndexBytes, .max_values = 1 << 20};

// A table of integers that old text encoders have among their weights, and nobody reads.
constexpr std::string_view kPositionIds = "position_ids";

// At most this many names of wrappers are removed.
constexpr int kMaxWrappers = 8;
// Enough to see what is wrong, too few to flood a log.
constexpr size_t kMaxTensorsNamed = 20;

constexpr std::string_view kSuffix = ".safetensors";
// What other programs write in place of a file of weights.
constexpr std::string_view kOtherFormats[] = {".bin", ".ckpt", ".pt",   ".pth",
                                              ".h5",  ".onnx", ".gguf", ".msgpack"};

// The tensors of each shard.
using Shards = std::map<std::string, std::set<std::string>>;

bool IsPlainFileName(std::string_view name) {
  return name.ends_with(".safetensors") && !name.starts_with('.') && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

absl::StatusOr<Shards> ParseIndex(std::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, ParseStrictJson(text, kIndexOptions));
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return absl::InvalidArgumentError("has no object weight_map");
  }
  Shards shards;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight_map: ", Quoted(tensor), " names no file"));
    }
    const auto& name = file.get_ref<const std::string&>();
    if (!IsPlainFileName(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight_map: ", Quoted(tensor), " is in ", Quoted(name),
                       ", which is not a plain name of a safetensors file"));
    }
    shards[name].insert(tensor);
  }
  if (shards.empty()) return absl::InvalidArgumentError("weight_map is empty");
  if (shards.size() > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight_map names more than ", kMaxShards, " files"));
  }
  return shards;
}

absl::Status AddFile(const std::string& name, const SafetensorsFile& file, Weights& weights) {
  for (const auto& [tensor, unused] : file.header().tensors) {
    if (tensor.ends_with(kPositionIds)) continue;
    absl::StatusOr<StoredTensor> stored = file.Find(tensor);
    if (!stored.ok()) return InFile(name, stored.status());
    weights.tensors[tensor] = *std::move(stored);
  }
  weights.files.emplace(name, file);
  return absl::OkStatus();
}

absl::Status CheckShard(const SafetensorsFile& file, const std::set<std::string>& expected) {
  for (const std::string& tensor : expected) {
    if (!file.header().tensors.contains(tensor)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(tensor), " of the index is missing"));
    }
  }
  for (const auto& [tensor, unused] : file.header().tensors) {
    if (!expected.contains(tensor)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quoted(tensor), " is not in the index"));
    }
  }
  return absl::OkStatus();
}

// What holds a network (torch.compile, DataParallel, a trainer's class) puts its own name before
// those of all tensors: "module.", "_orig_mod.". The networks themselves have no part in common,
// so that a first part that all names share comes from such a wrapper, and is removed.
void RemoveWrappers(StoredTensors& tensors) {
  for (int i = 0; i < kMaxWrappers && tensors.size() > 1; ++i) {
    const std::string& first = tensors.begin()->first;
    const std::string wrapper = first.substr(0, first.find('.') + 1);
    // Names are sorted: what the first and the last begin with, all do.
    if (wrapper.empty() || !tensors.rbegin()->first.starts_with(wrapper)) return;
    StoredTensors bare;
    for (auto& [name, tensor] : tensors) bare[name.substr(wrapper.size())] = std::move(tensor);
    tensors = std::move(bare);
  }
}

bool HasOtherFormat(std::string_view name) {
  return std::any_of(std::begin(kOtherFormats), std::end(kOtherFormats),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

// One of several files of weights: "model-00001-of-00002.safetensors".
bool IsShard(std::string_view name) {
  return name.find("-of-") != std::string_view::npos && name.ends_with(kSuffix);
}

// What is there in place of the weights `stem` of the folder `prefix`.
absl::Status NoWeights(const ModelFolder& folder, const std::string& prefix,
                       const std::string& stem) {
  const std::vector<std::string> names = folder.FileNames(prefix);
  const auto find = [&](const auto& is_wanted) -> std::optional<std::string> {
    const auto found = std::find_if(names.begin(), names.end(), is_wanted);
    if (found == names.end()) return std::nullopt;
    return prefix + Escaped(*found);
  };
  const std::string file = absl::StrCat(prefix, stem, std::string(kSuffix));
  const std::string missing = absl::StrCat(file, ": there is no such file");
  if (const auto shard = find(IsShard)) {
    return absl::NotFoundError(absl::StrCat(missing, ", but ", *shard, ", one of several, without ",
                                            stem,
                                            ".safetensors.index.json; copy or download that, too"));
  }
  if (const auto other = find([](const auto& name) { return name.ends_with(kSuffix); })) {
    return absl::NotFoundError(absl::StrCat(missing, ", but ", *other, "; rename that"));
  }
  if (folder.HasUnfinishedDownload(prefix)) {
    return absl::NotFoundError(absl::StrCat(
        missing, ", only a part of a download that has not ended; download the model again"));
  }
  if (const auto other = find(HasOtherFormat)) {
    return absl::NotFoundError(absl::StrCat(
        missing, ", only ", *other,
        ", a format that is never read; save the weights as safetensors, with save_pretrained"));
  }
  return absl::NotFoundError(missing);
}

absl::StatusOr<Weights> OpenShards(const ModelFolder& folder, const std::string& prefix,
                                   const std::string& index_file, size_t bytes_max) {
  ASSIGN_OR_RETURN(const std::string text, folder.ReadText(index_file, kMaxIndexBytes));
  absl::StatusOr<Shards> shards = ParseIndex(text);
  if (!shards.ok()) return InFile(index_file, shards.status());
  Weights weights{.tensors = {}, .file = index_file, .files = {}};
  for (const auto& [shard, tensors] : *shards) {
    const std::string name = prefix + shard;
    ASSIGN_OR_RETURN(const SafetensorsFile file, folder.OpenSafetensors(name, bytes_max));
    bytes_max -= file.size();
    RETURN_IF_ERROR(InFile(name, CheckShard(file, tensors)));
    RETURN_IF_ERROR(AddFile(name, file, weights));
  }
  return weights;
}

absl::StatusOr<Weights> OpenSingle(const ModelFolder& folder, const std::string& name,
                                   size_t bytes_max) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, folder.OpenSafetensors(name, bytes_max));
  Weights weights{.tensors = {}, .file = name, .files = {}};
  RETURN_IF_ERROR(AddFile(name, file, weights));
  return weights;
}

absl::StatusOr<Weights> OpenFiles(const ModelFolder& folder, const std::string& prefix,
                                  const std::string& stem, size_t bytes_max) {
  const std::string whole = prefix + stem;
  for (const char* variant : {"", "fp16."}) {
    const std::string index_file = absl::StrCat(whole, ".safetensors.index.", variant, "json");
    if (folder.HasFile(index_file)) return OpenShards(folder, prefix, index_file, bytes_max);
    const std::string file = absl::StrCat(whole, ".", variant, "safetensors");
    if (folder.HasFile(file)) return OpenSingle(folder, file, bytes_max);
  }
  return NoWeights(folder, prefix, stem);
}

// How many elements are NaN or infinite in float32, which is what networks are loaded in.
int64_t CountNonFinite(const at::Tensor& tensor) {
  return tensor.numel() - at::isfinite(tensor.to(at::kFloat)).sum().item<int64_t>();
}

}  // namespace

absl::StatusOr<Weights> OpenWeights(const ModelFolder& folder, const std::string& prefix,
                                    const std::string& stem, size_t bytes_max) {
  ASSIGN_OR_RETURN(Weights weights, OpenFiles(folder, prefix, stem, bytes_max));
  RemoveWrappers(weights.tensors);
  return weights;
}

size_t MaxWeightsBytes(int64_t parameters) {
  constexpr size_t kHeaderBytes = size_t{100} << 20;
  return 2 * static_cast<size_t>(parameters) * sizeof(double) + kHeaderBytes;
}

absl::Status CheckFinite(const StateDict& tensors) {
  FieldViolations violations;
  for (const auto& [name, tensor] : tensors) {
    if (violations.violations().size() == kMaxTensorsNamed) break;
    if (!tensor.defined() || !at::isFloatingType(tensor.scalar_type())) continue;
    const int64_t wrong = CountNonFinite(tensor);
    if (wrong == 0) continue;
    violations.Add(Escaped(name), DescribeNotFinite(wrong, tensor.numel()));
  }
  return violations.ToStatus();
}

}  // namespace denoise
