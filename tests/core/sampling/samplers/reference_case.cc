#include "tests/core/sampling/samplers/reference_case.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <ostream>

namespace denoise {
namespace {

constexpr std::array kClasses = {"DDPMScheduler",
                                 "DDIMScheduler",
                                 "DPMSolverMultistepScheduler",
                                 "DPMSolverSinglestepScheduler",
                                 "DEISMultistepScheduler",
                                 "UniPCMultistepScheduler",
                                 "EulerDiscreteScheduler",
                                 "EulerAncestralDiscreteScheduler",
                                 "HeunDiscreteScheduler",
                                 "EDMEulerScheduler",
                                 "EDMDPMSolverMultistepScheduler",
                                 "FlowMatchEulerDiscreteScheduler",
                                 "PNDMScheduler",
                                 "LCMScheduler"};

}  // namespace

std::string ReferenceCase::name() const {
  return run.at("scheduler").get<std::string>() + "_" + std::to_string(index);
}

std::string ReferenceCase::SchedulerConfig() const {
  nlohmann::json config = run.at("config");
  config["_class_name"] = run.at("scheduler");
  return config.dump();
}

bool ReferenceCase::learned_variance() const { return run.at("learned_2c_model").get<bool>(); }

std::vector<double> ReferenceCase::Numbers(const char* field) const {
  const nlohmann::json& numbers = run.at(field);
  return numbers.is_null() ? std::vector<double>() : numbers.get<std::vector<double>>();
}

nlohmann::json LoadReferenceFile() {
  std::ifstream file("tests/data/reference/samplers.json");
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

std::vector<ReferenceCase> LoadReferenceCases() {
  std::vector<ReferenceCase> cases;
  const nlohmann::json file = LoadReferenceFile();
  if (!file.is_object()) return cases;
  int index = 0;
  for (const nlohmann::json& run : file.at("cases")) {
    const std::string scheduler = run.at("scheduler");
    if (std::count(kClasses.begin(), kClasses.end(), scheduler) > 0) cases.push_back({index, run});
    ++index;
  }
  return cases;
}

Values ReferenceSample() {
  constexpr int kBatch = 4, kChannels = 3, kHeight = 8, kWidth = 8;
  Values sample;
  for (int b = 0; b < kBatch; ++b) {
    for (int i = 0; i < kChannels * kHeight * kWidth; ++i)
      sample.push_back((i * kBatch + b) / 768.0);
  }
  return sample;
}

NetworkOutput ReferenceNetwork(const Values& input, const Evaluation& evaluation) {
  NetworkOutput output{input, input};
  const double t = evaluation.timestep;
  for (double& value : output.mean) value *= t / (t + 1);
  for (double& value : output.variance) value = std::tanh(value);
  return output;
}

double CosDot(const Values& values) {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i)
    sum += values[i] * std::cos(0.1 * static_cast<double>(i));
  return sum;
}

void PrintTo(const ReferenceCase& reference, std::ostream* stream) {
  *stream << reference.name() << " " << reference.run.at("config").dump();
}

}  // namespace denoise
