#include "core/data/data_set_report.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/upload_reader.h"
#include "core/json/config_reader.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr IntRange kCount = {0, std::numeric_limits<int64_t>::max()};
constexpr IntRange kSide = {1, std::numeric_limits<int>::max()};
constexpr int kMaxChannels = 4;

// A sheet of noise has 2 MB, base64 adds a third; ten thousand names of classes are 10 MB at most.
constexpr JsonOptions kJsonOptions = {.max_bytes = size_t{32} << 20};

void ReadSide(ConfigReader& reader, const std::string& key, int& side) {
  int64_t number = side;
  reader.Read(key, number, kSide);
  side = static_cast<int>(number);
}

Json ToJson(const DataSetReport::Class& c) { return {{"name", c.name}, {"pictures", c.pictures}}; }
void FromJson(ConfigReader& reader, DataSetReport::Class& c) {
  reader.Read("name", c.name);
  reader.Read("pictures", c.pictures, kCount);
}

Json ToJson(const DataSetReport::Size& size) {
  return {{"width", size.width}, {"height", size.height}, {"pictures", size.pictures}};
}
void FromJson(ConfigReader& reader, DataSetReport::Size& size) {
  size.width = size.height = 1;
  ReadSide(reader, "width", size.width);
  ReadSide(reader, "height", size.height);
  reader.Read("pictures", size.pictures, kCount);
}

Json ToJson(const DataSetReport::Channel& channel) {
  return {{"mean", channel.mean}, {"standard_deviation", channel.standard_deviation}};
}
void FromJson(ConfigReader& reader, DataSetReport::Channel& channel) {
  reader.Read("mean", channel.mean);
  reader.Read("standard_deviation", channel.standard_deviation);
}

Json ToJson(const DataSetReport::NearDuplicate& pair) {
  return {{"file", pair.file},
          {"other_file", pair.other_file},
          {"hamming_distance", pair.hamming_distance}};
}
void FromJson(ConfigReader& reader, DataSetReport::NearDuplicate& pair) {
  reader.Read("file", pair.file);
  reader.Read("other_file", pair.other_file);
  int64_t distance = 0;
  reader.Read("hamming_distance", distance, {0, 64});
  pair.hamming_distance = static_cast<int>(distance);
}

Json ToJson(const DataSetReport::UnreadableFile& file) {
  return {{"file", file.file}, {"reason", file.reason}};
}
void FromJson(ConfigReader& reader, DataSetReport::UnreadableFile& file) {
  reader.Read("file", file.file);
  reader.Read("reason", file.reason);
}

template <typename Part>
Json ListToJson(const std::vector<Part>& parts) {
  Json list = Json::array();
  for (const Part& part : parts) list.push_back(ToJson(part));
  return list;
}

template <typename Part>
void ReadList(ConfigReader& reader, const std::string& key, size_t max_size,
              std::vector<Part>& parts) {
  const Json* list = reader.Find(key);
  if (list == nullptr) return;
  if (!list->is_array() || list->size() > max_size) {
    return reader.Violate(key, absl::StrCat("must be a list of at most ", max_size, " objects"));
  }
  for (const Json& object : *list) {
    const std::string field = absl::StrCat(key, "[", parts.size(), "]");
    if (!object.is_object()) return reader.Violate(field, "must be an object");
    ConfigReader part_reader(object, ConfigReader::Null::kValue);
    FromJson(part_reader, parts.emplace_back());
    for (const FieldViolation& violation : GetFieldViolations(part_reader.Finish(key))) {
      reader.Violate(absl::StrCat(field, ".", violation.field), violation.description);
    }
  }
}

void ReadChannels(ConfigReader& reader, std::map<int, int64_t>& pictures_by_channels) {
  const std::string key = "pictures_by_channels";
  const Json* object = reader.Find(key);
  if (object == nullptr) return;
  if (!object->is_object()) return reader.Violate(key, "must be an object");
  ConfigReader channels(*object, ConfigReader::Null::kValue);
  for (int i = 1; i <= kMaxChannels; ++i) {
    int64_t pictures = 0;
    channels.Read(absl::StrCat(i), pictures, kCount);
    if (pictures > 0) pictures_by_channels[i] = pictures;
  }
  for (const FieldViolation& violation : GetFieldViolations(channels.Finish(key))) {
    reader.Violate(absl::StrCat(key, ".", violation.field), violation.description);
  }
}

void ReadSheet(ConfigReader& reader, std::string& png) {
  std::string base64;
  reader.Read("contact_sheet_png", base64);
  if (!absl::Base64Unescape(base64, &png)) {
    reader.Violate("contact_sheet_png", "must be base64");
  }
}

}  // namespace

double DataSetReport::ClassImbalance() const {
  if (classes.empty()) return 0;
  const auto [smallest, largest] =
      std::minmax_element(classes.begin(), classes.end(),
                          [](const Class& a, const Class& b) { return a.pictures < b.pictures; });
  return static_cast<double>(largest->pictures) / static_cast<double>(smallest->pictures);
}

std::string DataSetReportToJson(const DataSetReport& report) {
  Json channels = Json::object();
  for (const auto& [count, pictures] : report.pictures_by_channels) {
    channels[absl::StrCat(count)] = pictures;
  }
  const Json json = {{"pictures", report.pictures},
                     {"classes", ListToJson(report.classes)},
                     {"sizes", ListToJson(report.sizes)},
                     {"distinct_sizes", report.distinct_sizes},
                     {"pictures_by_channels", channels},
                     {"channel_statistics", ListToJson(report.channel_statistics)},
                     {"near_duplicates", report.near_duplicates},
                     {"near_duplicate_examples", ListToJson(report.near_duplicate_examples)},
                     {"unreadable_files", report.unreadable_files},
                     {"unreadable_examples", ListToJson(report.unreadable_examples)},
                     {"contact_sheet_png", absl::Base64Escape(report.contact_sheet)}};
  return json.dump();
}

absl::StatusOr<DataSetReport> ParseDataSetReport(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseStrictJsonObject(text, kJsonOptions));
  ConfigReader reader(json, ConfigReader::Null::kValue);
  DataSetReport report;
  reader.Read("pictures", report.pictures, kCount);
  ReadList(reader, "classes", static_cast<size_t>(UploadLimits().max_classes), report.classes);
  ReadList(reader, "sizes", DataSetReport::kMaxExamples, report.sizes);
  reader.Read("distinct_sizes", report.distinct_sizes, kCount);
  ReadChannels(reader, report.pictures_by_channels);
  ReadList(reader, "channel_statistics", 3, report.channel_statistics);
  reader.Read("near_duplicates", report.near_duplicates, kCount);
  ReadList(reader, "near_duplicate_examples", DataSetReport::kMaxExamples,
           report.near_duplicate_examples);
  reader.Read("unreadable_files", report.unreadable_files, kCount);
  ReadList(reader, "unreadable_examples", DataSetReport::kMaxExamples, report.unreadable_examples);
  ReadSheet(reader, report.contact_sheet);
  RETURN_IF_ERROR(reader.Finish("a report"));
  return report;
}

}  // namespace denoise
