#include "tests/core/train/trainer_testing.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr int64_t kHidden = 8;

at::Tensor Random(uint64_t seed, at::IntArrayRef shape) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat));
}

class TinyNetwork : public Network {
 public:
  TinyNetwork(const TinyNetworkOptions& options, StateDict weights, at::ScalarType dtype,
              std::shared_ptr<int> calls)
      : options_(options), weights_(std::move(weights)), dtype_(dtype), calls_(std::move(calls)) {
    spec_ = {.sample = {options.channels, options.height, options.width},
             .out_channels = options.channels,
             .num_class_embeds = options.num_class_embeds};
  }

  const NetworkSpec& spec() const override { return spec_; }
  at::Device device() const override { return weights_.at("in").device(); }
  at::ScalarType dtype() const override { return dtype_; }

  at::Tensor Forward(const NetworkInput& input) const override {
    const float factor = options_.hook ? options_.hook({++*calls_, input}) : 1;
    at::Tensor hidden = at::linear(input.x.flatten(1), Weight("in"));
    hidden = hidden + input.timesteps.unsqueeze(1) / 1000 * Weight("time");
    if (input.conditions.class_labels.defined()) {
      hidden = hidden + Weight("classes").index_select(0, input.conditions.class_labels);
    }
    return at::linear(at::tanh(hidden), Weight("out")).view_as(input.x) * factor;
  }

  std::shared_ptr<const Network> To(at::Device, at::ScalarType) const override { return nullptr; }

 private:
  at::Tensor Weight(const char* name) const { return weights_.at(name).to(dtype_).to(at::kFloat); }

  const TinyNetworkOptions options_;
  const StateDict weights_;
  const at::ScalarType dtype_;
  const std::shared_ptr<int> calls_;
  NetworkSpec spec_;
};

}  // namespace

StateDict TinyNetworkWeights(const TinyNetworkOptions& options) {
  const int64_t pixels = options.channels * options.height * options.width;
  StateDict weights = {{"in", Random(1, {kHidden, pixels}) * 0.1},
                       {"out", Random(2, {pixels, kHidden}) * 0.1},
                       {"time", Random(3, {kHidden}) * 0.1},
                       {"unused", Random(5, {kHidden})}};
  if (options.num_class_embeds > 0) {
    weights["classes"] = Random(4, {options.num_class_embeds, kHidden}) * 0.1;
  }
  return weights;
}

NetworkBinder TinyNetworkBinder(const TinyNetworkOptions& options) {
  return
      [options, calls = std::make_shared<int>()](const StateDict& weights, at::ScalarType dtype) {
        return std::make_shared<TinyNetwork>(options, weights, dtype, calls);
      };
}

absl::StatusOr<TrainingRows> FakeBatches::Rows(int64_t step, int first, int count) {
  RETURN_IF_ERROR(std::exchange(error_, absl::OkStatus()));
  std::vector<at::Tensor> pictures;
  for (int row = first; row < first + count; ++row) {
    pictures.push_back(
        Random(static_cast<uint64_t>(step * 1000 + row), {channels_, height_, width_}));
  }
  return TrainingRows{
      .x0 = at::stack(pictures).clamp(-1, 1),
      .class_labels =
          at::arange(first, first + count, at::kLong).remainder(std::max<int64_t>(1, classes_))};
}

Trainer::Setup TinySetup(const TinyNetworkOptions& network, const TrainingOptions& options) {
  Trainer::Setup setup;
  setup.weights = TinyNetworkWeights(network);
  setup.binder = TinyNetworkBinder(network);
  setup.scheduler = *ParseSchedulerConfig(R"({"_class_name": "DDPMScheduler"})");
  if (network.num_class_embeds > 0) setup.null_class_label = network.num_class_embeds - 1;
  setup.batches = std::make_shared<FakeBatches>(network.channels, network.height, network.width,
                                                network.num_class_embeds - 1);
  setup.options = options;
  return setup;
}

absl::StatusOr<std::vector<StepReport>> RunSteps(Trainer& trainer, int steps) {
  std::vector<StepReport> reports;
  while (static_cast<int>(reports.size()) < steps) {
    ASSIGN_OR_RETURN(const std::optional<StepReport> report, trainer.RunSlice());
    if (report) reports.push_back(*report);
  }
  return reports;
}

TrainingOptions SmallOptions() {
  TrainingOptions options;
  options.optimizer.learning_rate = 0.01;
  options.max_steps = 200;
  options.batch_size = 7;
  options.micro_batch_size = 3;
  options.ema_decays = {0.5, 0.999};
  return options;
}

std::unique_ptr<Trainer> Make(const Trainer::Setup& setup) {
  auto trainer = Trainer::Create(setup);
  EXPECT_TRUE(trainer.ok()) << trainer.status();
  return *std::move(trainer);
}

std::unique_ptr<Trainer> Make(const TrainingOptions& options, const TinyNetworkOptions& network) {
  return Make(TinySetup(network, options));
}

std::vector<StepReport> Train(Trainer& trainer, int steps) {
  auto reports = RunSteps(trainer, steps);
  EXPECT_TRUE(reports.ok()) << reports.status();
  return reports.ok() ? *reports : std::vector<StepReport>(static_cast<size_t>(steps));
}

TrainingSnapshot SnapshotOf(const Trainer& trainer) {
  auto snapshot = trainer.Snapshot();
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  return *std::move(snapshot);
}

std::vector<std::string> ViolatedFields(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(status)) {
    fields.push_back(violation.field);
  }
  return fields;
}

double MeanLoss(const std::vector<StepReport>& reports, size_t first, size_t count) {
  double sum = 0;
  for (size_t i = first; i < first + count; ++i) sum += reports[i].loss;
  return sum / static_cast<double>(count);
}

bool BitEqual(const StateDict& a, const StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && at::equal(x.second, y.second);
  });
}

bool Close(const StateDict& a, const StateDict& b, double relative, double absolute) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const auto& x, const auto& y) {
    return x.first == y.first && at::allclose(x.second, y.second, relative, absolute);
  });
}

}  // namespace denoise
