// Debian's Prometheus, as scripts/prometheus has fetched it.
#pragma once

#include <string>

namespace denoise {

// The path of "prometheus" or "promtool".
inline std::string PrometheusProgram(const std::string& name) {
  return std::string(PROMETHEUS_FOLDER) + "/" + name;
}

}  // namespace denoise
