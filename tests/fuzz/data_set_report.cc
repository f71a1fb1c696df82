#include "core/data/data_set_report.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<DataSetReport> report = ParseDataSetReport(AsText(data, size));
  if (!report.ok()) {
    Require(absl::IsInvalidArgument(report.status()), "a bad report is INVALID_ARGUMENT");
    return 0;
  }
  Require(report->sizes.size() <= DataSetReport::kMaxExamples, "there are few sizes");
  const absl::StatusOr<DataSetReport> again = ParseDataSetReport(DataSetReportToJson(*report));
  Require(again.ok() && *again == *report, "what was read is written and read as the same");
  return 0;
}

}  // namespace denoise
