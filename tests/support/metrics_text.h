// Parses a metrics page in Prometheus' text format.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace denoise {

struct MetricSample {
  std::string name;                           // "denoised_requests_total"
  std::map<std::string, std::string> labels;  // {"outcome", "ok"}
  double value = 0;
};

class MetricsPage {
 public:
  explicit MetricsPage(std::string_view text);

  // Represents a page that could not be read: it has no samples, and its sums are NaN.
  static MetricsPage Unreadable();

  const std::vector<MetricSample>& samples() const { return samples_; }
  bool Has(std::string_view name) const;

  // The sum over all samples with this name and all of `labels`; 0 if there are none.
  double Sum(std::string_view name, const std::map<std::string, std::string>& labels = {}) const;

 private:
  std::vector<MetricSample> samples_;
  bool readable_ = true;
};

}  // namespace denoise
