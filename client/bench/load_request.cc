#include "client/bench/load_request.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "core/sampling/options/sampler_options.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr double kLongestPause = 60;  // after which the server gives up on a reader
constexpr double kLongestDeadline = 86400;
constexpr double kFastestReader = 1e12;
constexpr size_t kLongestName = 64;
constexpr IntRange kPositive{1, std::numeric_limits<int32_t>::max()};

constexpr std::pair<std::string_view, v1::Priority> kPriorities[] = {
    {"interactive", v1::PRIORITY_INTERACTIVE},
    {"normal", v1::PRIORITY_NORMAL},
    {"batch", v1::PRIORITY_BATCH},
};

std::optional<int32_t> ReadInteger(ConfigReader& reader, const std::string& key,
                                   IntRange range = kPositive) {
  if (!reader.Has(key)) return std::nullopt;
  int64_t value = range.min;
  reader.Read(key, value, range);
  return static_cast<int32_t>(value);
}

// A number above 0 and at most `most`; 0 if there is none.
double ReadPositive(ConfigReader& reader, const std::string& key, double most) {
  if (!reader.Has(key)) return 0;
  double value = most;
  reader.Read(key, value);
  if (value > 0 && value <= most) return value;
  reader.Violate(key, absl::StrCat("must be above 0 and at most ", most, "; is ", value));
  return 0;
}

// A name that can be shown, and sent as the metadata of a call.
std::string ReadName(ConfigReader& reader, const std::string& key) {
  if (!reader.Has(key)) return "";
  std::string name;
  reader.Read(key, name);
  const bool printable =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (name.empty() || name.size() > kLongestName || !printable) {
    reader.Violate(key, absl::StrCat("must be 1 to ", kLongestName, " printable ASCII characters"));
  }
  return name;
}

void ReadSampler(ConfigReader& reader, v1::SamplerOptions& sampler) {
  if (!reader.Has("sampler")) return;
  std::string name;
  reader.Read("sampler", name);
  const std::optional<NamedSampler> named = ParseSampler(name);
  if (!named) return reader.Violate("sampler", absl::StrCat("must be one of ", SamplerNameList()));
  SamplerOverrides overrides;
  overrides.sampler = named->sampler;
  overrides.solver_order = named->solver_order;
  sampler.MergeFrom(SamplerToProto(overrides));
}

void ReadSize(ConfigReader& reader, v1::GenerateRequest& request) {
  if (const auto height = ReadInteger(reader, "height")) request.set_height(*height);
  if (const auto width = ReadInteger(reader, "width")) request.set_width(*width);
}

void ReadContent(ConfigReader& reader, v1::GenerateRequest& request) {
  if (reader.Has("model")) {
    std::string model;
    reader.Read("model", model);
    if (model.empty()) reader.Violate("model", "must not be empty");
    request.set_model(ModelResourceName(model));
  }
  if (reader.Has("prompt")) reader.Read("prompt", *request.mutable_prompt());
  if (const auto label =
          ReadInteger(reader, "class_label", {0, std::numeric_limits<int32_t>::max()})) {
    request.set_class_label(*label);
  }
  if (const auto seed = ReadInteger(reader, "seed", {0, std::numeric_limits<int32_t>::max()})) {
    request.set_seed(static_cast<uint64_t>(*seed));
  }
}

void ReadWork(ConfigReader& reader, v1::GenerateRequest& request) {
  ReadSampler(reader, *request.mutable_sampler());
  if (const auto steps = ReadInteger(reader, "steps")) request.mutable_sampler()->set_steps(*steps);
  if (reader.Has("guidance_scale")) {
    double scale = 0;
    reader.Read("guidance_scale", scale);
    request.mutable_guidance()->set_scale(scale);
  }
  if (const auto count = ReadInteger(reader, "count")) request.set_count(*count);
  if (const auto every = ReadInteger(reader, "frames")) {
    request.mutable_frames()->set_every_n_steps(*every);
  }
  ReadSize(reader, request);
}

void ReadService(ConfigReader& reader, LoadRequest& request) {
  v1::Priority priority = v1::PRIORITY_UNSPECIFIED;
  reader.ReadName<v1::Priority>("priority", kPriorities, priority);
  request.request.set_priority(priority);
  bool allow_fewer_steps = false;
  reader.Read("allow_fewer_steps", allow_fewer_steps);
  request.request.set_allow_fewer_steps(allow_fewer_steps);
  request.tenant = ReadName(reader, "tenant");
  if (const double deadline = ReadPositive(reader, "deadline_seconds", kLongestDeadline)) {
    request.deadline = absl::Seconds(deadline);
  }
}

void ReadSlowReader(ConfigReader& reader, ReadPace& pace) {
  const nlohmann::json* const object = reader.Find("slow_reader");
  if (object == nullptr) return;
  if (!object->is_object() || object->empty()) {
    return reader.Violate("slow_reader", "must have bytes_per_second or pause_seconds");
  }
  ConfigReader inner(*object, ConfigReader::Null::kValue);
  pace.bytes_per_second = ReadPositive(inner, "bytes_per_second", kFastestReader);
  pace.pause_seconds = ReadPositive(inner, "pause_seconds", kLongestPause);
  for (const FieldViolation& violation : GetFieldViolations(inner.Finish("slow_reader"))) {
    reader.Violate(absl::StrCat("slow_reader.", violation.field), violation.description);
  }
}

std::string DefaultName(const LoadRequest& load) {
  const v1::SamplerOptions& sampler = load.request.sampler();
  std::string name = sampler.has_steps() ? absl::StrCat(sampler.steps(), " steps") : "all";
  if (load.request.priority() != v1::PRIORITY_UNSPECIFIED) {
    absl::StrAppend(&name, ", ", PriorityName(load.request.priority()));
  }
  if (!load.tenant.empty()) absl::StrAppend(&name, ", ", load.tenant);
  return name;
}

void WriteSampler(const v1::SamplerOptions& sampler, nlohmann::ordered_json& json) {
  FieldViolations unknown;
  const SamplerOverrides overrides = SamplerFromProto(sampler, unknown);
  if (overrides.sampler) {
    json["sampler"] = FullSamplerName({*overrides.sampler, overrides.solver_order});
  }
  if (sampler.has_steps()) json["steps"] = sampler.steps();
}

void WriteContent(const v1::GenerateRequest& request, nlohmann::ordered_json& json) {
  if (!request.model().empty()) json["model"] = ShortModelName(request.model());
  if (request.has_prompt()) json["prompt"] = request.prompt();
  if (request.has_class_label()) json["class_label"] = request.class_label();
  if (request.has_seed()) json["seed"] = request.seed();
  WriteSampler(request.sampler(), json);
  if (request.has_guidance()) json["guidance_scale"] = request.guidance().scale();
  if (request.has_count()) json["count"] = request.count();
  if (request.has_frames()) json["frames"] = request.frames().every_n_steps();
  if (request.has_height()) json["height"] = request.height();
  if (request.has_width()) json["width"] = request.width();
}

void WritePace(const ReadPace& pace, nlohmann::ordered_json& json) {
  if (pace.bytes_per_second > 0) json["slow_reader"]["bytes_per_second"] = pace.bytes_per_second;
  if (pace.pause_seconds > 0) json["slow_reader"]["pause_seconds"] = pace.pause_seconds;
}

}  // namespace

absl::Duration ReadPace::PauseAfter(size_t bytes) const {
  const double transfer = bytes_per_second > 0 ? static_cast<double>(bytes) / bytes_per_second : 0;
  return absl::Seconds(std::min(kLongestPause, pause_seconds + transfer));
}

void ReadLoadRequest(ConfigReader& reader, LoadRequest& request) {
  request.entry = ReadName(reader, "name");
  ReadContent(reader, request.request);
  ReadWork(reader, request.request);
  ReadService(reader, request);
  ReadSlowReader(reader, request.pace);
  if (request.entry.empty()) request.entry = DefaultName(request);
}

nlohmann::ordered_json LoadRequestToJson(const LoadRequest& load) {
  nlohmann::ordered_json json;
  json["name"] = load.entry;
  WriteContent(load.request, json);
  if (load.request.priority() != v1::PRIORITY_UNSPECIFIED) {
    json["priority"] = PriorityName(load.request.priority());
  }
  if (load.request.allow_fewer_steps()) json["allow_fewer_steps"] = true;
  if (!load.tenant.empty()) json["tenant"] = load.tenant;
  if (load.deadline != absl::InfiniteDuration()) {
    json["deadline_seconds"] = absl::ToDoubleSeconds(load.deadline);
  }
  WritePace(load.pace, json);
  return json;
}

std::string PriorityName(v1::Priority priority) {
  for (const auto& [name, value] : kPriorities) {
    if (value == priority) return std::string(name);
  }
  return "normal";
}

}  // namespace denoise
