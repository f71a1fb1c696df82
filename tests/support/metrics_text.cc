#include "tests/support/metrics_text.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace denoise {
namespace {

// `text` is what stands between the braces: a="x",b="y". Our label values hold no quotes or
// backslashes.
std::map<std::string, std::string> ParseLabels(std::string_view text) {
  std::map<std::string, std::string> labels;
  while (true) {
    const size_t open = text.find("=\"");
    if (open == std::string_view::npos) return labels;
    const size_t close = text.find('"', open + 2);
    if (close == std::string_view::npos) return labels;
    labels.emplace(text.substr(0, open), text.substr(open + 2, close - open - 2));
    text.remove_prefix(std::min(close + 2, text.size()));  // the quote and the comma
  }
}

MetricSample ParseSample(std::string_view line) {
  MetricSample sample;
  const size_t name_end = line.find_first_of("{ ");
  sample.name = line.substr(0, name_end);
  size_t value_begin = name_end;
  if (name_end != std::string_view::npos && line[name_end] == '{') {
    const size_t labels_end = line.rfind('}');
    sample.labels = ParseLabels(line.substr(name_end + 1, labels_end - name_end - 1));
    value_begin = labels_end + 1;
  }
  if (value_begin != std::string_view::npos) {
    sample.value = std::strtod(std::string(line.substr(value_begin)).c_str(), nullptr);
  }
  return sample;
}

bool HasLabels(const MetricSample& sample, const std::map<std::string, std::string>& labels) {
  return std::includes(sample.labels.begin(), sample.labels.end(), labels.begin(), labels.end());
}

}  // namespace

MetricsPage::MetricsPage(std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (!line.empty() && line[0] != '#') samples_.push_back(ParseSample(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

MetricsPage MetricsPage::Unreadable() {
  MetricsPage page("");
  page.readable_ = false;
  return page;
}

bool MetricsPage::Has(std::string_view name) const {
  return std::any_of(samples_.begin(), samples_.end(),
                     [&](const MetricSample& sample) { return sample.name == name; });
}

double MetricsPage::Sum(std::string_view name,
                        const std::map<std::string, std::string>& labels) const {
  if (!readable_) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const MetricSample& sample : samples_) {
    if (sample.name == name && HasLabels(sample, labels)) sum += sample.value;
  }
  return sum;
}

}  // namespace denoise
