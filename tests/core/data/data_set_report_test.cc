#include "core/data/data_set_report.h"

#include <gtest/gtest.h>

#include "core/base/field_violations.h"
#include "tests/core/data/upload_testing.h"

namespace denoise {
namespace {

DataSetReport FullReport() {
  DataSetReport report;
  report.pictures = 7;
  report.classes = {{"cats", 4}, {"dögs \"x\"", 3}};
  report.sizes = {{64, 32, 5}, {1, 100'000, 2}};
  report.distinct_sizes = 2;
  report.pictures_by_channels = {{1, 2}, {4, 5}};
  report.channel_statistics = {{-0.123456789012345, 0.5}, {0.1, 0.2}, {1.0 / 3, 1e-9}};
  report.near_duplicates = 3;
  report.near_duplicate_examples = {{"cats/1.png", "cats/2.png", 4}};
  report.unreadable_files = int64_t{1} << 53;
  report.unreadable_examples = {{"readme.txt", "neither a PNG, a JPEG nor a WebP picture"}};
  report.contact_sheet = Png(3);
  return report;
}

TEST(DataSetReport, RoundTripsThroughJson) {
  for (const DataSetReport& report : {FullReport(), DataSetReport()}) {
    const auto again = ParseDataSetReport(DataSetReportToJson(report));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, report);
  }
}

TEST(DataSetReport, ImbalanceIsTheLargestClassOverTheSmallest) {
  EXPECT_EQ(FullReport().ClassImbalance(), 4.0 / 3);
  EXPECT_EQ(DataSetReport().ClassImbalance(), 0);
}

TEST(DataSetReport, EveryWrongKeyIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"pictures": -1})", "pictures"},
      {R"({"classes": 3})", "classes"},
      {R"({"classes": [3]})", "classes[0]"},
      {R"({"classes": [{"name": "a"}, {"name": 1}]})", "classes[1].name"},
      {R"({"classes": [{"label": 1}]})", "classes[0].label"},
      {R"({"sizes": [{"width": 0}]})", "sizes[0].width"},
      {R"({"sizes": [{"height": 2147483648}]})", "sizes[0].height"},
      {R"({"pictures_by_channels": []})", "pictures_by_channels"},
      {R"({"pictures_by_channels": {"5": 1}})", "pictures_by_channels.5"},
      {R"({"channel_statistics": [{}, {}, {}, {}]})", "channel_statistics"},
      {R"({"channel_statistics": [{"mean": "0"}]})", "channel_statistics[0].mean"},
      {R"({"near_duplicate_examples": [{"hamming_distance": 65}]})",
       "near_duplicate_examples[0].hamming_distance"},
      {R"({"unreadable_examples": [{"reason": null}]})", "unreadable_examples[0].reason"},
      {R"({"contact_sheet_png": "!"})", "contact_sheet_png"},
      {R"({"whatever": 1})", "whatever"},
  };
  for (const auto& [json, field] : cases) {
    const auto report = ParseDataSetReport(json);
    const auto violations = GetFieldViolations(report.status());
    ASSERT_EQ(violations.size(), 1u) << json;
    EXPECT_EQ(violations[0].field, field);
  }
}

}  // namespace
}  // namespace denoise
