// What the trainer costs over a bare LibTorch loop that trains the same network, in one run:
//
//     build/release/bin/trainer_bench             a table for people
//     build/release/bin/trainer_bench --markdown  the same for the documentation
//     build/release/bin/trainer_bench --channels 48 96 144 --batch 32 --precision bfloat16
//
// The bare loop normalises with LibTorch's operators and uses one random batch, split like the
// trainer's. It draws timesteps and noise on the device and uses the mean squared error, plain
// autograd and torch::optim::AdamW. It does no clipping and no averaging, and reads the loss once
// per step. The trainer does everything it does in a job except reading pictures. Steps of both
// alternate and medians are shown, so ratios are meaningful even on a machine that is not idle.
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/device/devices.h"
#include "core/nn/unet2d.h"
#include "core/train/trainer.h"
#include "tests/core/train/bench_network.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"
#include "tests/support/fixed_batches.h"

namespace denoise {
namespace {

constexpr UNet2DOptions kNetwork = {.batch_invariant = false};
constexpr UNet2DOptions kBareNetwork = {.batch_invariant = false, .fuse_normalization = false};

struct Flags {
  int64_t size = 32;
  std::vector<int64_t> channels = {32, 64, 64};
  int batch = 16;
  int steps = 15;
  int head_dim = 8;
  int threads = 2;
  std::string device = "cpu";
  std::string precision;  // empty: both
  bool markdown = false;
  bool quick = false;
};

struct Case {
  std::string name;
  TrainingPrecision precision = TrainingPrecision::kFloat32;
  int micro_batch = 1;
};

class BareLoop {
 public:
  BareLoop(UNet2DConfig config, const StateDict& weights, const at::Tensor& x0, at::Device device,
           at::ScalarType dtype, int micro_batch)
      : config_(std::move(config)), dtype_(dtype), micro_batch_(micro_batch), x0_(x0.to(device)) {
    std::vector<at::Tensor> list;
    for (const auto& [name, weight] : weights) {
      list.push_back(weights_[name] = weight.to(device, at::kFloat, false, true).requires_grad_());
    }
    optimizer_ = std::make_unique<torch::optim::AdamW>(list, torch::optim::AdamWOptions(1e-4));
    const at::Tensor betas = torch::linspace(1e-4, 0.02, 1000, x0_.options());
    alphas_cumprod_ = (1 - betas).cumprod(0);
  }

  void Step() {
    at::Tensor loss = torch::zeros({}, x0_.options());
    optimizer_->zero_grad();
    for (const at::Tensor& rows : x0_.split(micro_batch_)) {
      const at::Tensor part = Loss(rows) * (static_cast<double>(rows.size(0)) / x0_.size(0));
      part.backward();
      loss += part.detach();
    }
    optimizer_->step();
    loss.item<float>();
  }

 private:
  at::Tensor Loss(const at::Tensor& x0) const {
    const int64_t rows = x0.size(0);
    const at::Tensor t = torch::randint(1000, {rows}, x0.options().dtype(at::kLong));
    const at::Tensor noise = torch::randn_like(x0);
    const at::Tensor alpha_bar = alphas_cumprod_.index_select(0, t).view({rows, 1, 1, 1});
    const at::Tensor x_t = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise;
    const auto network = BindUNet2D(config_, weights_, dtype_, kBareNetwork);
    return torch::mse_loss(network->Forward({.x = x_t, .timesteps = t.to(at::kFloat)}), noise);
  }

  const UNet2DConfig config_;
  const at::ScalarType dtype_;
  const int64_t micro_batch_;
  const at::Tensor x0_;
  at::Tensor alphas_cumprod_;
  StateDict weights_;
  std::unique_ptr<torch::optim::AdamW> optimizer_;
};

double Seconds(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

absl::StatusOr<TableRow> Measure(const Flags& flags, const Case& measured) {
  ASSIGN_OR_RETURN(const UNet2DConfig config,
                   BenchNetwork(flags.size, flags.channels, flags.head_dim));
  ASSIGN_OR_RETURN(const std::vector<at::Device> devices, ParseDevices(flags.device));
  const at::Device device = devices.front();
  const StateDict weights = InitializeUNet2D(config, 1);
  const at::Tensor x0 = torch::rand({flags.batch, 3, flags.size, flags.size}) * 2 - 1;
  const bool half = measured.precision == TrainingPrecision::kBFloat16;
  BareLoop bare(config, weights, x0, device, half ? at::kBFloat16 : at::kFloat,
                measured.micro_batch);

  Trainer::Setup setup;
  setup.weights = weights;
  setup.binder = [&config](const StateDict& parameters, at::ScalarType dtype) {
    return BindUNet2D(config, parameters, dtype, kNetwork);
  };
  ASSIGN_OR_RETURN(setup.scheduler, ParseSchedulerConfig(R"({"_class_name": "DDPMScheduler"})"));
  setup.batches = std::make_shared<FixedBatches>(TrainingRows{.x0 = x0});
  setup.options.max_steps = 1000000;
  setup.options.batch_size = flags.batch;
  setup.options.micro_batch_size = measured.micro_batch;
  setup.options.precision = measured.precision;
  setup.device = device;
  ASSIGN_OR_RETURN(const auto trainer, Trainer::Create(std::move(setup)));

  absl::Status status;
  const auto step = [&] {
    for (bool done = false; !done && status.ok();) {
      const auto report = trainer->RunSlice();
      status.Update(report.status());
      done = report.ok() && report->has_value();
    }
  };
  bare.Step();  // chooses kernels, takes memory
  step();
  std::vector<double> bare_seconds, trainer_seconds;
  for (int i = 0; i < flags.steps; ++i) {
    bare_seconds.push_back(Seconds([&] { bare.Step(); }));
    trainer_seconds.push_back(Seconds(step));
  }
  RETURN_IF_ERROR(status);
  const double bare_rate = flags.batch / Median(bare_seconds);
  const double trainer_rate = flags.batch / Median(trainer_seconds);
  return TableRow{measured.name, absl::StrFormat("%.1f", bare_rate),
                  absl::StrFormat("%.1f", trainer_rate),
                  absl::StrFormat("%.3f", trainer_rate / bare_rate)};
}

absl::Status Bench(const Flags& flags) {
  at::set_num_threads(flags.threads);
  std::vector<TableRow> rows = {{"training", "bare loop images/s", "trainer images/s", "ratio"}};
  for (const Case& measured :
       {Case{.name = "float32, one network call a step", .micro_batch = flags.batch},
        Case{.name = "float32, four network calls a step",
        .micro_batch = std::max(1, flags.batch / 4)},
        Case{.name = "bfloat16, one network call a step",
        .precision = TrainingPrecision::kBFloat16,
        .micro_batch = flags.batch}}) {
    const bool half = measured.precision == TrainingPrecision::kBFloat16;
    if (!flags.precision.empty() && half != (flags.precision == "bfloat16")) continue;
    ASSIGN_OR_RETURN(TableRow row, Measure(flags, measured));
    rows.push_back(std::move(row));
  }
  PrintTable(absl::StrCat("Training of a UNet of ", absl::StrJoin(flags.channels, ", "),
                          " channels at ", flags.size, " x ", flags.size, ", batches of ",
                          flags.batch, ", ", flags.device, ", ", flags.threads, " threads"),
             rows, flags.markdown);
  return absl::OkStatus();
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("What the trainer costs over a bare LibTorch loop.");
  app.add_option("--size", flags.size, "Pixels a side")->capture_default_str();
  app.add_option("--channels", flags.channels, "Of each level")->capture_default_str();
  app.add_option("--batch", flags.batch, "Pictures a step")->capture_default_str();
  app.add_option("--steps", flags.steps, "Of each kind, of which the median is shown")
      ->capture_default_str();
  app.add_option("--head-dim", flags.head_dim, "Channels of an attention head")
      ->capture_default_str();
  app.add_option("--precision", flags.precision, "Only this one")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--threads", flags.threads, "Threads of the network")->capture_default_str();
  app.add_option("--device", flags.device, "cpu, cuda, cuda:1")->capture_default_str();
  app.add_flag("--quick", flags.quick, "A tiny network and one step: shows that it works");
  app.add_flag("--markdown", flags.markdown, "Tables for the documentation");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.size = 8;
    flags.channels = {32, 32};
    flags.batch = 4;
    flags.steps = 1;
    flags.threads = 1;
  }
  if (const absl::Status status = denoise::Bench(flags); !status.ok()) {
    std::fprintf(stderr, "trainer_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
