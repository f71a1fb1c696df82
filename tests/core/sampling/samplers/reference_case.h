// One sampling run of tests/data/reference/samplers.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/sampling/samplers/plan.h"
#include "tests/core/sampling/samplers/plan_replay.h"

namespace denoise {

struct ReferenceCase {
  int index;  // in the file
  nlohmann::json run;

  std::string name() const;             // "DDIMScheduler_33"
  std::string SchedulerConfig() const;  // the text of its scheduler_config.json
  bool learned_variance() const;
  std::vector<double> Numbers(const char* field) const;  // empty where the file says null
};

// All runs of the scheduler classes that we read, in the order of the file.
std::vector<ReferenceCase> LoadReferenceCases();
nlohmann::json LoadReferenceFile();

Values ReferenceSample();  // sample_deter, [4, 3, 8, 8]
inline constexpr size_t kReferenceImageSize = 3 * 8 * 8;

// m(x, t) = x * t / (t + 1), and tanh(x) for the variance.
NetworkOutput ReferenceNetwork(const Values& input, const Evaluation& evaluation);

double CosDot(const Values& values);  // sum_i x_i * cos(0.1 i)

void PrintTo(const ReferenceCase& reference, std::ostream* stream);

}  // namespace denoise
