#include "core/io/weights.h"

#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr char kStem[] = "diffusion_pytorch_model";
constexpr size_t kMaxIndexBytes = size_t{16} << 20;
constexpr size_t kMaxShards = 1000;
// One value per tensor, and a few more.
constexpr JsonOptions kIndexOptions = {.max_bytes = kMaxIndexBytes, .max_values = 1 << 20};

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
    absl::StatusOr<at::Tensor> view = file.Get(tensor);
    if (!view.ok()) return InFile(name, view.status());
    weights.tensors[tensor] = *std::move(view);
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

absl::StatusOr<Weights> LoadShards(const ModelFolder& folder, const std::string& prefix,
                                   const std::string& index_file) {
  ASSIGN_OR_RETURN(const std::string text, folder.ReadText(index_file, kMaxIndexBytes));
  absl::StatusOr<Shards> shards = ParseIndex(text);
  if (!shards.ok()) return InFile(index_file, shards.status());
  Weights weights{.tensors = {}, .file = index_file, .files = {}};
  for (const auto& [shard, tensors] : *shards) {
    const std::string name = prefix + shard;
    ASSIGN_OR_RETURN(const SafetensorsFile file, folder.OpenSafetensors(name));
    RETURN_IF_ERROR(InFile(name, CheckShard(file, tensors)));
    RETURN_IF_ERROR(AddFile(name, file, weights));
  }
  return weights;
}

}  // namespace

absl::StatusOr<Weights> LoadWeights(const ModelFolder& folder, const std::string& prefix) {
  const std::string stem = prefix + kStem;
  const std::string index_file = stem + ".safetensors.index.json";
  if (folder.HasFile(index_file)) return LoadShards(folder, prefix, index_file);
  for (const std::string& name : {stem + ".safetensors", stem + ".fp16.safetensors"}) {
    if (!folder.HasFile(name)) continue;
    ASSIGN_OR_RETURN(const SafetensorsFile file, folder.OpenSafetensors(name));
    Weights weights{.tensors = {}, .file = name, .files = {}};
    RETURN_IF_ERROR(AddFile(name, file, weights));
    return weights;
  }
  const bool pickled = folder.HasFile(stem + ".bin");
  return absl::NotFoundError(
      absl::StrCat(stem, ".safetensors: there is no such file",
                   pickled ? "; pickled weights (.bin) are never read" : ""));
}

}  // namespace denoise
