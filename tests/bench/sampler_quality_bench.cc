// How many steps a sampler needs, measured on a checkpoint:
//
//     build/release/bin/sampler_quality_bench                        tables for people
//     build/release/bin/sampler_quality_bench --markdown             the same for the documentation
//     build/release/bin/sampler_quality_bench --pictures steps.png   and the pictures themselves
//
// A deterministic sampler follows the ODE of the diffusion: its images are compared one by one with
// those that it makes of the same noise in 1000 steps, and these with dpmpp_2m's, so that nobody
// shines by following another ODE. Stochastic ones are compared as distributions, over many seeds,
// with what DDPM makes in 1000 steps, the reverse process as it was learned. The samplers that clip
// do so where the checkpoint says, as in use. All trajectories share one loop.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"
#include "core/io/checkpoint.h"
#include "core/sampling/options/sampler_overrides.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/bench/energy_distance.h"
#include "tests/bench/sample_together.h"
#include "tests/support/bench_options.h"
#include "tests/support/bench_report.h"
#include "tests/support/class_conditions.h"

namespace denoise {
namespace {

constexpr uint64_t kFirstSeed = 1000;
// What is drawn for the other side of a comparison of distributions must be independent.
constexpr uint64_t kReferenceSeed = 1000000;

struct Flags {
  std::string checkpoint = "deploy/models/emoji-32";
  std::vector<int> steps = {4, 8, 16, 32, 64};
  int reference_steps = 1000;
  int images = 8;
  int many_images = 64;
  int batch_size = 16;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string pictures;
  bool quick = false;
  bool markdown = false;
};

// A sampler as the tables name it, and what it is asked.
struct Contestant {
  const char* name;
  SamplerOverrides overrides;
  int first_timestep = 0;  // runs go evenly down from here; 0: as the overrides lay them out
};

// With trailing timesteps, so that runs of any length begin where there is most noise, and every
// step ends where the next begins, whether or not the number of steps divides the schedule.
SamplerOverrides Sampler(std::string_view name) {
  const NamedSampler sampler = *ParseSampler(name);
  SamplerOverrides overrides = {.sampler = sampler.sampler,
                                .timestep_spacing = TimestepSpacing::kTrailing,
                                .solver_order = sampler.solver_order};
  if (sampler.sampler == SamplerKind::kDdim) overrides.step_to_listed_timestep = true;
  return overrides;
}

// From the greatest sigma that Karras et al. 2022 (table 1) use to the schedule's least. Solvers
// lay their levels without timesteps, the others between those of the first timestep and the last.
SamplerOverrides Karras(std::string_view name) {
  SamplerOverrides overrides = Sampler(name);
  overrides.sigma_spacing = SigmaSpacing::kKarras;
  overrides.sigma_max = 80;
  overrides.timestep_spacing = TimestepSpacing::kLinspace;
  if (SamplerReads(*overrides.sampler, "solver_order")) overrides.timestep_spacing.reset();
  return overrides;
}

// Of samplers that average slopes or noises of very different levels, and diverge where the first
// step of a cosine schedule spans them all: a little signal is left here.
SamplerOverrides Listed(std::string_view name) {
  SamplerOverrides overrides = Sampler(name);
  overrides.timestep_spacing.reset();
  return overrides;
}
constexpr int kFirstListed = 990;

// The deterministic one, without clipping, that the limits of the others are compared with.
constexpr std::string_view kSolution = "dpmpp_2m";

std::vector<Contestant> OdeSamplers() {
  return {
      {"ddim", Sampler("ddim")},
      {"euler", Sampler("euler")},
      {"euler, Karras", Karras("euler")},
      {"heun", Listed("heun"), kFirstListed},
      {"heun, Karras", Karras("heun")},
      {"dpm_solver_2", Sampler("dpm_solver_2")},
      {"dpm_solver_3", Sampler("dpm_solver_3")},
      {"dpmpp_2m", Sampler("dpmpp_2m")},
      {"dpmpp_2m, Karras", Karras("dpmpp_2m")},
      {"dpmpp_3m", Sampler("dpmpp_3m")},
      {"dpmpp_2s", Sampler("dpmpp_2s")},
      {"dpmpp_3s", Sampler("dpmpp_3s")},
      {"deis", Sampler("deis")},
      {"pndm", Listed("pndm"), kFirstListed},
      {"plms", Listed("plms"), kFirstListed},
      {"unipc_2", Sampler("unipc_2")},
      {"unipc_3", Sampler("unipc_3")},
      {"vp_ode", Sampler("vp_ode")},
  };
}

std::vector<Contestant> StochasticSamplers() {
  SamplerOverrides ddim = Sampler("ddim");
  ddim.eta = 1;
  return {
      {"ddpm", Sampler("ddpm")},
      {"ddim, eta 1", ddim},
      {"euler_a", Sampler("euler_a")},
      {"dpmpp_2m_sde", Sampler("dpmpp_2m_sde")},
      {"dpmpp_2s_sde", Sampler("dpmpp_2s_sde")},
      {"vp_sde", Sampler("vp_sde")},
  };
}

using Plan = std::shared_ptr<const SamplerPlan>;

// Whole ones, as many as there are steps, or as there are at all.
std::vector<double> TimestepsFrom(int first, int steps) {
  std::vector<double> timesteps;
  const int count = std::min(first, steps);
  for (int i = 0; i < count; ++i) {
    timesteps.push_back(std::round(first * (1 - static_cast<double>(i) / count)));
  }
  return timesteps;
}

absl::StatusOr<Plan> Compile(const Checkpoint& checkpoint, const Contestant& contestant,
                             int steps) {
  SamplerOverrides overrides = contestant.overrides;
  if (contestant.first_timestep > 0) {
    overrides.timesteps = TimestepsFrom(contestant.first_timestep, steps);
  } else {
    overrides.steps = steps;
  }
  const SamplerOptions defaults = SwitchSampler(checkpoint.scheduler, *overrides.sampler);
  const ResolvedSampler resolved = ApplyOverrides(defaults, overrides, steps);
  RETURN_IF_ERROR(resolved.violations);
  ASSIGN_OR_RETURN(const Schedule schedule, Schedule::Create(checkpoint.scheduler.schedule));
  ASSIGN_OR_RETURN(SamplerPlan plan, CompilePlan(schedule, resolved.options));
  return std::make_shared<const SamplerPlan>(std::move(plan));
}

// Everything that is to be sampled, run together at once. The classes take turns.
class Studio {
 public:
  explicit Studio(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  // `count` images of one plan; returns what Samples() knows them by.
  size_t Order(const Plan& plan, uint64_t seed, int count) {
    orders_.push_back({trajectories_.size(), static_cast<size_t>(count)});
    for (int i = 0; i < count; ++i) {
      const uint64_t image_seed = seed + static_cast<uint64_t>(i);
      trajectories_.emplace_back(plan, ConditioningOf(i), image_seed,
                                 checkpoint_.network->spec().sample, *runtime_);
    }
    return orders_.size() - 1;
  }

  void Run(int batch_size) {
    const bool show = isatty(STDERR_FILENO) == 1;
    SampleTogether(*checkpoint_.network, trajectories_, batch_size, [&](size_t done, size_t total) {
      if (show) std::fprintf(stderr, "\r%zu of %zu evaluations ", done, total);
    });
    if (show) std::fprintf(stderr, "\n");
  }

  // [count, C, H, W], after Run.
  at::Tensor Samples(size_t order) const {
    std::vector<at::Tensor> samples;
    for (size_t i = 0; i < orders_[order].count; ++i) {
      samples.push_back(trajectories_[orders_[order].first + i].x());
    }
    return at::stack(samples);
  }

 private:
  struct Range {
    size_t first;
    size_t count;
  };

  Conditioning ConditioningOf(int image) const {
    const int64_t classes = checkpoint_.network->spec().num_class_embeds;
    if (classes == 0) return {};
    const int64_t labels = checkpoint_.null_class_label ? classes - 1 : classes;
    return {.conditions = Classes({{.class_label = image % labels}})};
  }

  const Checkpoint& checkpoint_;
  const std::shared_ptr<DeviceRuntime> runtime_ = MakeDeviceRuntime(checkpoint_.network->device());
  std::vector<Trajectory> trajectories_;
  std::vector<Range> orders_;
};

// One sampler's images, for each number of steps, and what they are compared with.
struct Entry {
  const char* name;
  std::vector<size_t> orders;
  std::vector<size_t> evaluations;  // that an image takes
  size_t reference = 0;
};

absl::StatusOr<size_t> OrderReference(const Flags& flags, const Checkpoint& checkpoint,
                                      const Contestant& contestant, uint64_t seed, int images,
                                      Studio& studio) {
  ASSIGN_OR_RETURN(const Plan plan, Compile(checkpoint, contestant, flags.reference_steps));
  return studio.Order(plan, seed, images);
}

absl::StatusOr<Entry> OrderAll(const Flags& flags, const Checkpoint& checkpoint,
                               const Contestant& contestant, int images, Studio& studio) {
  Entry entry{.name = contestant.name};
  for (const int steps : flags.steps) {
    ASSIGN_OR_RETURN(const Plan plan, Compile(checkpoint, contestant, steps));
    entry.orders.push_back(studio.Order(plan, kFirstSeed, images));
    entry.evaluations.push_back(plan->evaluations.size());
  }
  return entry;
}

double RootMeanSquare(const at::Tensor& difference) {
  return std::sqrt(difference.to(at::kDouble).square().mean().item<double>());
}

TableRow Heading(const Flags& flags) {
  TableRow heading = {"steps"};
  for (const int steps : flags.steps) heading.push_back(absl::StrCat(steps));
  return heading;
}

void ReportOde(const Flags& flags, const std::vector<Entry>& entries, const Studio& studio) {
  const auto solver = std::find_if(entries.begin(), entries.end(),
                                   [](const Entry& entry) { return entry.name == kSolution; });
  const at::Tensor solution = studio.Samples(solver->reference);
  std::vector<TableRow> rows = {Heading(flags)};
  rows[0].push_back("limit");
  for (const Entry& entry : entries) {
    TableRow row = {entry.name};
    const at::Tensor reference = studio.Samples(entry.reference);
    for (size_t i = 0; i < entry.orders.size(); ++i) {
      const double distance = RootMeanSquare(studio.Samples(entry.orders[i]) - reference);
      const int steps = flags.steps[i];
      row.push_back(absl::StrFormat("%.4f", distance));
      if (entry.evaluations[i] != static_cast<size_t>(steps)) {
        absl::StrAppendFormat(&row.back(), " (%d)", entry.evaluations[i]);
      }
    }
    row.push_back(absl::StrFormat("%.4f", RootMeanSquare(reference - solution)));
    rows.push_back(std::move(row));
  }
  PrintTable(
      absl::StrCat("Deterministic samplers: root mean square distance to the sampler's own ",
                   flags.reference_steps, "-step images of the same noise, over ", flags.images,
                   " images in [-1, 1]; in brackets the network evaluations, where they are "
                   "not the steps; limit: from those images to the ",
                   flags.reference_steps, "-step ones of ", std::string(kSolution)),
      rows, flags.markdown);
}

void ReportStochastic(const Flags& flags, const std::vector<Entry>& entries, const Studio& studio) {
  std::vector<TableRow> rows = {Heading(flags)};
  rows[0].push_back("chance");
  for (const Entry& entry : entries) {
    TableRow row = {entry.name};
    const at::Tensor reference = studio.Samples(entry.reference);
    double chance = 0;
    for (const size_t order : entry.orders) {
      const EnergyDistance measured =
          MeasureEnergyDistance(studio.Samples(order), reference, kReferenceSeed);
      chance = std::max(chance, measured.chance);
      row.push_back(absl::StrFormat("%.4f", measured.distance));
    }
    row.push_back(absl::StrFormat("%.4f", chance));
    rows.push_back(std::move(row));
  }
  PrintTable(absl::StrCat("Stochastic samplers: energy distance (0 the same, 1 nothing in common) "
                          "between ",
                          flags.many_images, " images and as many independent ones of ddpm in ",
                          flags.reference_steps,
                          " steps; values below the last column may be chance alone"),
             rows, flags.markdown);
}

// One row a sampler, its steps ascending and the reference last, all of one seed.
absl::Status WritePictures(const Flags& flags, const std::vector<Entry>& entries,
                           const NetworkSpec& spec, const Studio& studio) {
  if (flags.pictures.empty()) return absl::OkStatus();
  std::vector<Image> cells;
  const auto add = [&](size_t order) {
    const at::Tensor sample = studio.Samples(order)[0].contiguous();
    cells.push_back(ImageFromSample({sample.data_ptr<float>(), static_cast<size_t>(sample.numel())},
                                    static_cast<int>(spec.sample.channels),
                                    static_cast<int>(spec.sample.height),
                                    static_cast<int>(spec.sample.width)));
  };
  for (const Entry& entry : entries) {
    for (const size_t order : entry.orders) add(order);
    add(entry.reference);
  }
  const int columns = static_cast<int>(flags.steps.size()) + 1;
  ASSIGN_OR_RETURN(const Image sheet, ContactSheet(cells, columns, /*padding=*/4, /*scale=*/2));
  ASSIGN_OR_RETURN(const std::string png, EncodeImage(sheet, ImageFormat::kPng));
  std::FILE* file = std::fopen(flags.pictures.c_str(), "wb");
  if (file == nullptr) return absl::NotFoundError("cannot write " + flags.pictures);
  const bool written = std::fwrite(png.data(), 1, png.size(), file) == png.size();
  if (std::fclose(file) != 0 || !written) {
    return absl::UnavailableError("cannot write all of " + flags.pictures);
  }
  return absl::OkStatus();
}

absl::Status Bench(const Flags& flags) {
  at::set_num_threads(flags.threads);
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, LoadCheckpoint(flags.checkpoint, UNet2DOptions{}));
  Studio studio(checkpoint);
  std::vector<Entry> ode, stochastic;
  for (const Contestant& contestant : OdeSamplers()) {
    ASSIGN_OR_RETURN(Entry entry, OrderAll(flags, checkpoint, contestant, flags.images, studio));
    ASSIGN_OR_RETURN(entry.reference, OrderReference(flags, checkpoint, contestant, kFirstSeed,
                                                     flags.images, studio));
    ode.push_back(std::move(entry));
  }
  ASSIGN_OR_RETURN(const size_t ddpm, OrderReference(flags, checkpoint, {"ddpm", Sampler("ddpm")},
                                                     kReferenceSeed, flags.many_images, studio));
  for (const Contestant& contestant : StochasticSamplers()) {
    ASSIGN_OR_RETURN(Entry entry,
                     OrderAll(flags, checkpoint, contestant, flags.many_images, studio));
    entry.reference = ddpm;
    stochastic.push_back(std::move(entry));
  }
  studio.Run(flags.batch_size);
  ReportOde(flags, ode, studio);
  ReportStochastic(flags, stochastic, studio);
  return WritePictures(flags, ode, checkpoint.network->spec(), studio);
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  denoise::Flags flags;
  CLI::App app("How close each sampler comes to its own limit in few steps.");
  app.add_option("--checkpoint", flags.checkpoint, "The folder of a checkpoint")
      ->capture_default_str();
  app.add_option("--steps", flags.steps, "Numbers of steps")->delimiter(',')->capture_default_str();
  app.add_option("--reference-steps", flags.reference_steps, "Steps of what they are compared with")
      ->capture_default_str();
  app.add_option("--images", flags.images, "Images of each deterministic sampler")
      ->capture_default_str();
  app.add_option("--many-images", flags.many_images, "Images of each stochastic sampler")
      ->capture_default_str();
  app.add_option("--batch-size", flags.batch_size, "Images a network call")->capture_default_str();
  app.add_option("--threads", flags.threads, "Threads of the network")->capture_default_str();
  app.add_option("--pictures", flags.pictures, "Also write a contact sheet here");
  app.add_flag("--quick", flags.quick, "Few steps: shows that it works, and little else");
  app.add_flag("--markdown", flags.markdown, "Tables for the documentation");
  if (const auto code = denoise::ParseBenchOptions(app, argc, argv)) return *code;
  if (flags.quick) {
    flags.steps = {1, 3};
    flags.reference_steps = 5;
    flags.images = flags.many_images = 2;
  }
  if (const absl::Status status = denoise::Bench(flags); !status.ok()) {
    std::fprintf(stderr, "sampler_quality_bench: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
