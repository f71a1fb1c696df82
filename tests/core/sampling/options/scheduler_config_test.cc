#include "core/sampling/options/scheduler_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/field_violations.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_families.h"
#include "core/sampling/samplers/compile_plan.h"

namespace denoise {
namespace {

constexpr char kDdpm[] = "DDPMScheduler";
constexpr char kDdim[] = "DDIMScheduler";
constexpr char kDpm[] = "DPMSolverMultistepScheduler";
constexpr char kSinglestep[] = "DPMSolverSinglestepScheduler";
constexpr char kDeis[] = "DEISMultistepScheduler";
constexpr char kUniPc[] = "UniPCMultistepScheduler";
constexpr char kEuler[] = "EulerDiscreteScheduler";
constexpr char kEulerAncestral[] = "EulerAncestralDiscreteScheduler";
constexpr char kHeun[] = "HeunDiscreteScheduler";
constexpr char kEdmEuler[] = "EDMEulerScheduler";
constexpr char kEdmDpm[] = "EDMDPMSolverMultistepScheduler";
constexpr char kFlowEuler[] = "FlowMatchEulerDiscreteScheduler";
constexpr char kFlowHeun[] = "FlowMatchHeunDiscreteScheduler";
constexpr char kConsistency[] = "CMStochasticIterativeScheduler";

constexpr char kPndm[] = "PNDMScheduler";
constexpr char kLcm[] = "LCMScheduler";
constexpr char kTcd[] = "TCDScheduler";
constexpr const char* kAllClasses[] = {
    kDdpm, kDdim, kDpm, kSinglestep, kDeis,   kUniPc,     kEuler,    kEulerAncestral, kHeun,
    kPndm, kLcm,  kTcd, kEdmEuler,   kEdmDpm, kFlowEuler, kFlowHeun, kConsistency};

std::string Config(const char* class_name, const std::string& keys = "") {
  return "{\"_class_name\": \"" + std::string(class_name) + "\"" +
         (keys.empty() ? "" : ", " + keys) + "}";
}

SchedulerConfig Parse(const char* class_name, const std::string& keys = "") {
  const absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(Config(class_name, keys));
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : SchedulerConfig();
}

const VpOptions& Vp(const SchedulerConfig& config) { return std::get<VpOptions>(config.schedule); }

TEST(ParseSchedulerConfig, AbsentKeysTakeTheirClasssDefaults) {
  const SamplerOptions ddpm = Parse(kDdpm).sampler;
  EXPECT_EQ(ddpm.sampler, SamplerKind::kDdpm);
  EXPECT_TRUE(ddpm.clip_sample);
  EXPECT_EQ(ddpm.timestep_spacing, TimestepSpacing::kLeading);
  EXPECT_EQ(ddpm.variance_type, VarianceType::kFixedSmall);

  const SamplerOptions ddim = Parse(kDdim).sampler;
  EXPECT_EQ(ddim.sampler, SamplerKind::kDdim);
  EXPECT_TRUE(ddim.clip_sample);
  EXPECT_TRUE(ddim.set_alpha_to_one);
  EXPECT_EQ(ddim.timestep_spacing, TimestepSpacing::kLeading);

  const SamplerOptions dpm = Parse(kDpm).sampler;
  EXPECT_EQ(dpm.sampler, SamplerKind::kDpmSolverPlusPlus);
  EXPECT_FALSE(dpm.clip_sample);
  EXPECT_EQ(dpm.timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_EQ(dpm.solver_order, 2);
  EXPECT_EQ(dpm.final_sigma, FinalSigma::kZero);

  const SamplerOptions singlestep = Parse(kSinglestep).sampler;
  EXPECT_EQ(singlestep.sampler, SamplerKind::kDpmSolverPlusPlusSinglestep);
  EXPECT_EQ(singlestep.solver_order, 2);
  EXPECT_FALSE(singlestep.lower_order_final);
  EXPECT_EQ(singlestep.final_sigma, FinalSigma::kZero);

  const SamplerOptions deis = Parse(kDeis).sampler;
  EXPECT_EQ(deis.sampler, SamplerKind::kDeis);
  EXPECT_EQ(deis.solver_order, 2);
  EXPECT_TRUE(deis.lower_order_final);
  EXPECT_EQ(deis.final_sigma, FinalSigma::kSigmaMin);

  const SamplerOptions pndm = Parse(kPndm).sampler;
  EXPECT_EQ(pndm.sampler, SamplerKind::kPndm);
  EXPECT_FALSE(pndm.set_alpha_to_one);
  EXPECT_FALSE(pndm.clip_sample);
  EXPECT_EQ(pndm.timestep_spacing, TimestepSpacing::kLeading);

  for (const char* distilled : {kLcm, kTcd}) {
    const SchedulerConfig config = Parse(distilled);
    EXPECT_EQ(config.sampler.original_inference_steps, 50);
    EXPECT_EQ(config.sampler.timestep_scaling, 10);
    EXPECT_FALSE(config.sampler.clip_sample);
    const VpOptions& schedule = std::get<VpOptions>(config.schedule);
    EXPECT_EQ(schedule.beta_schedule, BetaSchedule::kScaledLinear);
    EXPECT_EQ(schedule.beta_start, 0.00085);
    EXPECT_EQ(schedule.beta_end, 0.012);
  }
  EXPECT_EQ(Parse(kTcd).sampler.eta, 0.3);

  const SamplerOptions unipc = Parse(kUniPc).sampler;
  EXPECT_EQ(unipc.sampler, SamplerKind::kUniPc);
  EXPECT_EQ(unipc.timestep_spacing, TimestepSpacing::kLinspace);

  const SchedulerConfig euler = Parse(kEuler);
  EXPECT_EQ(euler.sampler.sampler, SamplerKind::kEuler);
  EXPECT_EQ(euler.sampler.timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_EQ(euler.sampler.sigma_spacing, SigmaSpacing::kTimesteps);
  EXPECT_EQ(euler.sampler.final_sigma, FinalSigma::kZero);
  EXPECT_FALSE(euler.sampler.clip_sample);
  EXPECT_EQ(Vp(euler).beta_start, 1e-4);

  const SamplerOptions ancestral = Parse(kEulerAncestral).sampler;
  EXPECT_EQ(ancestral.sampler, SamplerKind::kEulerAncestral);
  EXPECT_EQ(ancestral.timestep_spacing, TimestepSpacing::kLinspace);

  const SchedulerConfig heun = Parse(kHeun);
  EXPECT_EQ(heun.sampler.sampler, SamplerKind::kHeun);
  EXPECT_EQ(heun.sampler.timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_FALSE(heun.sampler.clip_sample);
  EXPECT_EQ(Vp(heun).beta_start, 0.00085);
  EXPECT_EQ(Vp(heun).beta_end, 0.012);
}

TEST(ParseSchedulerConfig, ReadsTheSchedule) {
  const VpOptions schedule =
      Vp(Parse(kDdim, R"("beta_schedule": "scaled_linear", "beta_start": 0.00085,
      "beta_end": 0.012, "num_train_timesteps": 500, "rescale_betas_zero_snr": true)"));
  EXPECT_EQ(schedule.beta_schedule, BetaSchedule::kScaledLinear);
  EXPECT_EQ(schedule.beta_start, 0.00085);
  EXPECT_EQ(schedule.beta_end, 0.012);
  EXPECT_EQ(schedule.num_train_timesteps, 500);
  EXPECT_TRUE(schedule.rescale_betas_zero_snr);
  EXPECT_THAT(Vp(Parse(kDdim, R"("trained_betas": [0.1, 0.2])")).trained_betas,
              testing::ElementsAre(0.1, 0.2));
}

TEST(ParseSchedulerConfig, ReadsEveryKeyOfASolver) {
  const SamplerOptions options =
      Parse(kDpm, R"("algorithm_type": "sde-dpmsolver++", "solver_type": "heun",
      "solver_order": 1, "lower_order_final": false, "euler_at_final": true, "final_sigmas_type": "sigma_min",
      "use_lu_lambdas": true, "flow_shift": 2.5, "lambda_min_clipped": -5.1, "variance_type": "learned_range",
      "prediction_type": "v_prediction", "timestep_spacing": "trailing", "steps_offset": 1, "thresholding": true,
      "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5)")
          .sampler;
  EXPECT_EQ(options.sampler, SamplerKind::kSdeDpmSolverPlusPlus);
  EXPECT_EQ(options.solver_type, SolverType::kHeun);
  EXPECT_EQ(options.solver_order, 1);
  EXPECT_FALSE(options.lower_order_final);
  EXPECT_TRUE(options.euler_at_final);
  EXPECT_EQ(options.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(options.sigma_spacing, SigmaSpacing::kLu);
  EXPECT_EQ(options.flow_shift, 2.5);
  EXPECT_EQ(options.lambda_min_clipped, -5.1);
  EXPECT_EQ(options.variance_type, VarianceType::kLearnedRange);
  EXPECT_EQ(options.prediction_type, PredictionType::kVPrediction);
  EXPECT_EQ(options.timestep_spacing, TimestepSpacing::kTrailing);
  EXPECT_EQ(options.steps_offset, 1);
  EXPECT_TRUE(options.thresholding);
  EXPECT_EQ(options.dynamic_thresholding_ratio, 0.9);
  EXPECT_EQ(options.sample_max_value, 1.5);
  EXPECT_THAT(Parse(kUniPc, R"("disable_corrector": [0, 2])").sampler.disable_corrector,
              testing::ElementsAre(0, 2));
}

TEST(ParseSchedulerConfig, ReadsTheKeysOfTheSinglestepSolver) {
  const SchedulerConfig config =
      Parse(kSinglestep, R"("algorithm_type": "sde-dpmsolver++", "solver_type": "heun",
      "lower_order_final": true, "final_sigmas_type": "sigma_min", "use_exponential_sigmas": true,
      "lambda_min_clipped": -5.1, "thresholding": true)");
  const SamplerOptions& options = config.sampler;
  EXPECT_EQ(options.sampler, SamplerKind::kSdeDpmSolverPlusPlusSinglestep);
  EXPECT_EQ(options.solver_type, SolverType::kHeun);
  EXPECT_TRUE(options.lower_order_final);
  EXPECT_EQ(options.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(options.sigma_spacing, SigmaSpacing::kExponential);
  EXPECT_EQ(options.lambda_min_clipped, -5.1);
  EXPECT_TRUE(options.thresholding);
  EXPECT_EQ(Parse(kSinglestep, R"("algorithm_type": "dpmsolver")").sampler.sampler,
            SamplerKind::kDpmSolverSinglestep);
}

TEST(ParseSchedulerConfig, ReadsBetaSpacing) {
  for (const char* class_name : {kDpm, kSinglestep, kDeis, kUniPc, kEuler, kHeun}) {
    EXPECT_EQ(Parse(class_name, R"("use_beta_sigmas": true)").sampler.sigma_spacing,
              SigmaSpacing::kBeta);
  }
}

TEST(ParseSchedulerConfig, ReadsTheKeysOfDeis) {
  const SamplerOptions deis = Parse(kDeis, R"("algorithm_type": "dpmsolver++", "solver_order": 3,
      "solver_type": "midpoint", "lower_order_final": false, "timestep_spacing": "leading",
      "steps_offset": 1, "use_karras_sigmas": true)")
                                  .sampler;
  EXPECT_EQ(deis.sampler, SamplerKind::kDeis);
  EXPECT_EQ(deis.solver_order, 3);
  EXPECT_FALSE(deis.lower_order_final);
  EXPECT_EQ(deis.timestep_spacing, TimestepSpacing::kLeading);
  EXPECT_EQ(deis.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(Parse(kDeis, R"("use_flow_sigmas": true, "prediction_type": "flow_prediction")")
                .sampler.final_sigma,
            FinalSigma::kZero);
}

TEST(ParseSchedulerConfig, ReadsTheKeysOfPndm) {
  const SamplerOptions plms = Parse(kPndm, R"("skip_prk_steps": true, "set_alpha_to_one": true,
      "steps_offset": 1, "timestep_spacing": "trailing")")
                                  .sampler;
  EXPECT_EQ(plms.sampler, SamplerKind::kPlms);
  EXPECT_TRUE(plms.set_alpha_to_one);
  EXPECT_EQ(plms.steps_offset, 1);
  EXPECT_EQ(plms.timestep_spacing, TimestepSpacing::kTrailing);
}

TEST(ParseSchedulerConfig, ReadsTheKeysOfDistilledModels) {
  const SchedulerConfig lcm = Parse(kLcm, R"("original_inference_steps": 100,
      "timestep_scaling": 5.0, "clip_sample": true, "clip_sample_range": 2.0,
      "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "steps_offset": 0,
      "set_alpha_to_one": true, "timestep_spacing": "leading")");
  EXPECT_EQ(lcm.sampler.original_inference_steps, 100);
  EXPECT_EQ(lcm.sampler.timestep_scaling, 5);
  EXPECT_EQ(lcm.sampler.clip_sample_range, 2);
  EXPECT_TRUE(std::get<VpOptions>(lcm.schedule).rescale_betas_zero_snr);
  EXPECT_EQ(Parse(kTcd, R"("original_inference_steps": 20)").sampler.original_inference_steps, 20);
}

// What the library itself writes, every key included.
TEST(ParseSchedulerConfig, TakesAConfigAsTheLibrarySavesIt) {
  const SchedulerConfig config =
      Parse(kDpm, R"("_diffusers_version": "0.40.0", "_use_default_values": ["flow_shift"],
      "algorithm_type": "dpmsolver++", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
      "dynamic_thresholding_ratio": 0.995, "euler_at_final": false, "final_sigmas_type": "zero", "flow_shift": 1.0,
      "lambda_min_clipped": -Infinity, "lower_order_final": true, "num_train_timesteps": 1000,
      "prediction_type": "epsilon", "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2,
      "solver_type": "midpoint", "steps_offset": 1, "thresholding": false, "time_shift_type": "exponential",
      "timestep_spacing": "leading", "trained_betas": null, "use_beta_sigmas": false, "use_dynamic_shifting": false,
      "use_exponential_sigmas": false, "use_flow_sigmas": false, "use_karras_sigmas": false, "use_lu_lambdas": false,
      "variance_type": null, "timestep_values": null)");
  EXPECT_EQ(config.sampler.lambda_min_clipped, -std::numeric_limits<double>::infinity());
  const absl::StatusOr<Schedule> schedule = Schedule::Create(config.schedule);
  ASSERT_TRUE(schedule.ok());
  EXPECT_TRUE(CompilePlan(*schedule, config.sampler).ok());
}

// Whole, as a checkpoint's own scheduler/scheduler_config.json has it.
TEST(ParseSchedulerConfig, TakesAConfigOfEulerAsTheLibrarySavesIt) {
  const SamplerOptions options =
      Parse(kEuler,
            R"("_diffusers_version": "0.40.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
      "beta_start": 0.00085, "clip_sample": false, "final_sigmas_type": "sigma_min", "interpolation_type": "linear",
      "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": true,
      "sample_max_value": 1.0, "set_alpha_to_one": false, "sigma_max": null, "sigma_min": null,
      "skip_prk_steps": true, "steps_offset": 1, "timestep_spacing": "leading", "timestep_type": "discrete",
      "trained_betas": null, "use_beta_sigmas": false, "use_exponential_sigmas": false, "use_karras_sigmas": true)")
          .sampler;
  EXPECT_EQ(options.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(options.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(options.prediction_type, PredictionType::kVPrediction);
  EXPECT_EQ(options.timestep_spacing, TimestepSpacing::kLeading);
  EXPECT_EQ(options.steps_offset, 1);
}

TEST(ParseSchedulerConfig, TakesTheOtherFamilysSolverTypeForTheDefault) {
  EXPECT_EQ(Parse(kDpm, R"("solver_type": "bh2")").sampler.solver_type, std::nullopt);
  EXPECT_EQ(Parse(kDpm, R"("solver_type": "logrho")").sampler.solver_type, std::nullopt);
  EXPECT_EQ(Parse(kUniPc, R"("solver_type": "midpoint")").sampler.solver_type, std::nullopt);
  EXPECT_EQ(Parse(kUniPc, R"("solver_type": "bh1")").sampler.solver_type, SolverType::kBh1);
}

struct BadConfig {
  const char* class_name;
  const char* keys;
  const char* field;
};

struct OldConfig {
  const char* code;
  const char* class_name;
  const char* keys;
  PredictionType prediction_type;
  bool clip_sample;
  std::vector<std::string> ignored;
};

TEST(ParseSchedulerConfig, OldKeysMeanWhatTheyMeant) {
  constexpr auto kEpsilon = PredictionType::kEpsilon;
  constexpr auto kSample = PredictionType::kSample;
  const OldConfig configs[] = {
      {"M1",
       kDdpm,
       R"("_diffusers_version": "0.8.0", "predict_epsilon": true)",
       kEpsilon,
       true,
       {}},
      {"M1", kDdpm, R"("predict_epsilon": false, "clip_sample": false)", kSample, false, {}},
      {"M1", kDpm, R"("predict_epsilon": false)", kSample, false, {}},
      {"M1",
       kDdpm,
       R"("predict_epsilon": false, "prediction_type": "epsilon")",
       kEpsilon,
       true,
       {"predict_epsilon"}},
      {"M1",
       kDdim,
       R"("_diffusers_version": "0.1.1", "timestep_values": null)",
       kEpsilon,
       true,
       {}},
      {"M1",
       kDdpm,
       R"("tensor_format": "pt", "timestep_values": [1, 2])",
       kEpsilon,
       true,
       {"tensor_format", "timestep_values"}},
      {"M1", kEuler, R"("prediction_type": "original_sample")", kSample, false, {}},
      {"M1",
       kDdpm,
       R"("no_such_key": {"a": [1]}, "solver_order": 3)",
       kEpsilon,
       true,
       {"no_such_key", "solver_order"}},
      {"M1",
       kFlowEuler,
       R"("prediction_type": "epsilon")",
       PredictionType::kFlowPrediction,
       false,
       {"prediction_type"}},
  };
  for (const OldConfig& old : configs) {
    const SchedulerConfig config = Parse(old.class_name, old.keys);
    EXPECT_EQ(config.sampler.prediction_type, old.prediction_type) << old.code << ": " << old.keys;
    EXPECT_EQ(config.sampler.clip_sample, old.clip_sample) << old.code << ": " << old.keys;
    EXPECT_EQ(config.ignored_keys, old.ignored) << old.code << ": " << old.keys;
  }
}

TEST(ParseSchedulerConfig, OldNamesOfTheScheduleAreReadWhereTheNewOnesAreAbsent) {
  EXPECT_EQ(Vp(Parse(kDdpm, R"("timesteps": 50)")).num_train_timesteps, 50);
  EXPECT_EQ(Vp(Parse(kDdpm, R"("timesteps": 50, "num_train_timesteps": 60)")).num_train_timesteps,
            60);
  EXPECT_THAT(Vp(Parse(kDdpm, R"("betas": [0.1, 0.2], "num_train_timesteps": 2)")).trained_betas,
              testing::ElementsAre(0.1, 0.2));
}

TEST(ParseSchedulerConfig, ReadsAConfigOf2022) {
  std::ifstream file("tests/data/models/scheduler-of-2022.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(text);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->sampler.prediction_type, PredictionType::kEpsilon);
  EXPECT_TRUE(config->sampler.clip_sample);
  EXPECT_THAT(config->ignored_keys, testing::IsEmpty());
}

TEST(ParseSchedulerConfig, ReadsSolversThatOnlyTheLibraryNames) {
  EXPECT_FALSE(Parse(kUniPc, R"("predict_x0": false)").sampler.predict_x0);
  for (const char* name : {kDpm, kSinglestep}) {
    EXPECT_EQ(Parse(name, R"("algorithm_type": "sde-dpmsolver++", "solver_order": 3)")
                  .sampler.solver_order,
              3);
  }
}

// A config that the library made from another class's keeps that class's keys; they mean nothing.
TEST(ParseSchedulerConfig, IgnoresKeysOfOtherClasses) {
  const SamplerOptions ddim = Parse(kDdim, R"("solver_order": 3, "skip_prk_steps": true)").sampler;
  EXPECT_EQ(ddim.solver_order, ClassDefaults(SamplerKind::kDdim).solver_order);
  const SamplerOptions singlestep =
      Parse(kSinglestep, R"("timestep_spacing": "trailing", "steps_offset": 1,
      "euler_at_final": true, "use_lu_lambdas": true, "rescale_betas_zero_snr": true)")
          .sampler;
  EXPECT_EQ(singlestep.timestep_spacing, TimestepSpacing::kLinspace);
  EXPECT_EQ(singlestep.steps_offset, 0);
  EXPECT_FALSE(singlestep.euler_at_final);
  EXPECT_EQ(Parse(kDeis, R"("final_sigmas_type": "zero")").sampler.final_sigma,
            FinalSigma::kSigmaMin);
  const SamplerOptions unipc =
      Parse(kUniPc, R"("use_lu_lambdas": true, "clip_sample": true)").sampler;
  EXPECT_EQ(unipc.sigma_spacing, SigmaSpacing::kTimesteps);
  EXPECT_FALSE(unipc.clip_sample);
  const SamplerOptions euler =
      Parse(kEuler, R"("thresholding": true, "use_flow_sigmas": true, "solver_order": 7)").sampler;
  EXPECT_FALSE(euler.thresholding);
  EXPECT_EQ(euler.sigma_spacing, SigmaSpacing::kTimesteps);
  const SamplerOptions ancestral =
      Parse(kEulerAncestral, R"("use_karras_sigmas": true, "final_sigmas_type": "sigma_min")")
          .sampler;
  EXPECT_EQ(ancestral.sigma_spacing, SigmaSpacing::kTimesteps);
  EXPECT_EQ(ancestral.final_sigma, FinalSigma::kZero);
  const SchedulerConfig heun =
      Parse(kHeun, R"("rescale_betas_zero_snr": true, "final_sigmas_type": "sigma_min")");
  EXPECT_FALSE(Vp(heun).rescale_betas_zero_snr);
  EXPECT_EQ(heun.sampler.final_sigma, FinalSigma::kZero);
}

TEST(ParseSchedulerConfig, ReadsEveryKeyOfHeun) {
  const SamplerOptions heun =
      Parse(kHeun, R"("clip_sample": true, "clip_sample_range": 2.0, "use_exponential_sigmas": true,
      "timestep_spacing": "trailing", "prediction_type": "sample")")
          .sampler;
  EXPECT_TRUE(heun.clip_sample);
  EXPECT_EQ(heun.clip_sample_range, 2);
  EXPECT_EQ(heun.sigma_spacing, SigmaSpacing::kExponential);
  EXPECT_EQ(heun.timestep_spacing, TimestepSpacing::kTrailing);
  EXPECT_EQ(heun.prediction_type, PredictionType::kSample);
}

TEST(ParseSchedulerConfig, ReadsEveryKeyOfEdm) {
  const SchedulerConfig defaults = Parse(kEdmEuler);
  const EdmOptions& edm = std::get<EdmOptions>(defaults.schedule);
  EXPECT_EQ(defaults.sampler.sampler, SamplerKind::kEuler);
  EXPECT_EQ(defaults.sampler.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(edm.sigma_min, 0.002);
  EXPECT_EQ(edm.sigma_max, 80);
  EXPECT_EQ(edm.sigma_data, 0.5);
  EXPECT_EQ(edm.rho, 7);
  EXPECT_FALSE(edm.consistency_model);

  const SchedulerConfig config =
      Parse(kEdmDpm, R"("sigma_min": 0.01, "sigma_max": 50, "sigma_data": 1.0, "rho": 5,
      "sigma_schedule": "exponential", "prediction_type": "v_prediction", "algorithm_type": "sde-dpmsolver++",
      "solver_order": 1, "solver_type": "heun", "lower_order_final": false, "euler_at_final": true,
      "final_sigmas_type": "sigma_min", "thresholding": true, "num_train_timesteps": 500)");
  EXPECT_EQ(std::get<EdmOptions>(config.schedule).sigma_data, 1);
  EXPECT_EQ(std::get<EdmOptions>(config.schedule).num_train_timesteps, 500);
  const SamplerOptions& options = config.sampler;
  EXPECT_EQ(options.sampler, SamplerKind::kSdeDpmSolverPlusPlus);
  EXPECT_EQ(options.sigma_spacing, SigmaSpacing::kExponential);
  EXPECT_EQ(options.prediction_type, PredictionType::kVPrediction);
  EXPECT_EQ(options.sigma_min, 0.01);
  EXPECT_EQ(options.sigma_max, 50);
  EXPECT_EQ(options.rho, 5);
  EXPECT_EQ(options.solver_order, 1);
  EXPECT_EQ(options.solver_type, SolverType::kHeun);
  EXPECT_FALSE(options.lower_order_final);
  EXPECT_TRUE(options.euler_at_final);
  EXPECT_TRUE(options.thresholding);
  EXPECT_EQ(options.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(SwitchSampler(config, SamplerKind::kHeun).sigma_max, 50);
}

TEST(ParseSchedulerConfig, ReadsEveryKeyOfFlowMatching) {
  const SchedulerConfig defaults = Parse(kFlowEuler);
  EXPECT_EQ(defaults.sampler.sampler, SamplerKind::kEuler);
  EXPECT_EQ(defaults.sampler.sigma_spacing, SigmaSpacing::kFlow);
  EXPECT_EQ(defaults.sampler.prediction_type, PredictionType::kFlowPrediction);
  EXPECT_EQ(defaults.sampler.flow_shift, 1);
  EXPECT_EQ(Parse(kFlowHeun, R"("shift": 3.0)").sampler.flow_shift, 3);
  EXPECT_EQ(Parse(kFlowHeun).sampler.sampler, SamplerKind::kHeun);

  const SchedulerConfig config =
      Parse(kFlowEuler, R"("num_train_timesteps": 500, "shift": 2.0, "shift_terminal": 0.02,
      "invert_sigmas": true, "use_karras_sigmas": true, "stochastic_sampling": true)");
  const FlowOptions& flow = std::get<FlowOptions>(config.schedule);
  EXPECT_EQ(flow.num_train_timesteps, 500);
  EXPECT_EQ(flow.shift_terminal, 0.02);
  EXPECT_TRUE(flow.invert_sigmas);
  EXPECT_EQ(config.sampler.sampler, SamplerKind::kConsistency);
  EXPECT_EQ(config.sampler.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(config.sampler.prediction_type, PredictionType::kInvertedFlowPrediction);
  EXPECT_EQ(config.sampler.flow_shift, 2);
}

TEST(ParseSchedulerConfig, DynamicShiftFollowsTheSizeOfTheImage) {
  SchedulerConfig config = Parse(kFlowEuler, R"("use_dynamic_shifting": true, "base_shift": 0.5,
      "max_shift": 1.5, "base_image_seq_len": 100, "max_image_seq_len": 300)");
  EXPECT_NEAR(config.sampler.flow_shift, std::exp(0.5), 1e-12);
  SetImageSize(10, 20, config);
  EXPECT_NEAR(config.sampler.flow_shift, std::exp(1.0), 1e-12);
  EXPECT_NEAR(SwitchSampler(config, SamplerKind::kHeun).flow_shift, std::exp(1.0), 1e-12);
  SchedulerConfig linear = Parse(kFlowEuler, R"("use_dynamic_shifting": true, "base_shift": 2,
      "max_shift": 4, "base_image_seq_len": 100, "max_image_seq_len": 300, "time_shift_type": "linear")");
  SetImageSize(10, 20, linear);
  EXPECT_NEAR(linear.sampler.flow_shift, 3, 1e-12);
}

TEST(ParseSchedulerConfig, ReadsEveryKeyOfAConsistencyModel) {
  const SchedulerConfig defaults = Parse(kConsistency);
  EXPECT_EQ(defaults.sampler.sampler, SamplerKind::kConsistency);
  EXPECT_TRUE(defaults.sampler.clip_sample);
  EXPECT_EQ(std::get<EdmOptions>(defaults.schedule).num_train_timesteps, 40);
  EXPECT_TRUE(std::get<EdmOptions>(defaults.schedule).consistency_model);
  const SchedulerConfig config =
      Parse(kConsistency, R"("num_train_timesteps": 201, "sigma_min": 0.01, "sigma_max": 70,
      "sigma_data": 0.6, "rho": 6, "s_noise": 0.9, "clip_denoised": false)");
  const EdmOptions& schedule = std::get<EdmOptions>(config.schedule);
  EXPECT_EQ(schedule.num_train_timesteps, 201);
  EXPECT_EQ(schedule.sigma_min, 0.01);
  EXPECT_EQ(schedule.sigma_max, 70);
  EXPECT_EQ(schedule.sigma_data, 0.6);
  EXPECT_EQ(schedule.rho, 6);
  EXPECT_EQ(config.sampler.s_noise, 0.9);
  EXPECT_FALSE(config.sampler.clip_sample);
}

TEST(ParseSchedulerConfig, ReadsEulersOptionsForContinuousTime) {
  const SamplerOptions options =
      Parse(kEuler, R"("interpolation_type": "log_linear", "timestep_type": "continuous",
      "prediction_type": "v_prediction", "sigma_min": 0.002, "sigma_max": 700.0, "use_karras_sigmas": true)")
          .sampler;
  EXPECT_EQ(options.interpolation_type, InterpolationType::kLogLinear);
  EXPECT_EQ(options.timestep_type, TimestepType::kContinuous);
  EXPECT_EQ(options.sigma_min, 0.002);
  EXPECT_EQ(options.sigma_max, 700);
  // The class heeds it in networks that predict v only.
  EXPECT_EQ(Parse(kEuler, R"("timestep_type": "continuous")").sampler.timestep_type,
            TimestepType::kDiscrete);
}

TEST(ParseSchedulerConfig, RefusesBadValuesAndNamesTheKey) {
  const BadConfig bad_configs[] = {
      {kDdpm, R"("beta_schedule": "laplace")", "beta_schedule"},
      {kDdpm, R"("beta_schedule": 3)", "beta_schedule"},
      {kDdpm, R"("beta_schedule": ["linear"])", "beta_schedule"},
      {kDdpm, R"("beta_start": "low")", "beta_start"},
      {kDdpm, R"("beta_start": -1)", "beta_start"},
      {kDdpm, R"("beta_end": NaN)", "beta_end"},
      {kDdpm, R"("beta_end": 1e300)", "beta_end"},
      {kDdpm, R"("num_train_timesteps": 0)", "num_train_timesteps"},
      {kDdpm, R"("num_train_timesteps": 10.5)", "num_train_timesteps"},
      {kDdpm, R"("num_train_timesteps": 1e18)", "num_train_timesteps"},
      {kDdpm, R"("num_train_timesteps": 18446744073709551615)", "num_train_timesteps"},
      {kDdpm, R"("num_train_timesteps": NaN)", "num_train_timesteps"},
      {kDdpm, R"("num_train_timesteps": true)", "num_train_timesteps"},
      {kDdpm, R"("trained_betas": 0.1)", "trained_betas"},
      {kDdpm, R"("trained_betas": [0.1, "0.2"])", "trained_betas"},
      {kDdpm, R"("trained_betas": [0.1, NaN])", "trained_betas"},
      {kDdpm, R"("clip_sample": 1)", "clip_sample"},
      {kDdpm, R"("clip_sample": "true")", "clip_sample"},
      {kDdpm, R"("clip_sample_range": -1)", "clip_sample_range"},
      {kDdpm, R"("variance_type": "fixed")", "variance_type"},
      {kDdpm, R"("prediction_type": "score")", "prediction_type"},
      {kDdpm, R"("prediction_type": "flow_prediction")", "prediction_type"},
      {kDdpm, R"("timestep_spacing": "random")", "timestep_spacing"},
      {kDdpm, R"("steps_offset": -1)", "steps_offset"},
      {kDdpm, R"("thresholding": true, "sample_max_value": 0.5)", "sample_max_value"},
      {kDdpm, R"("thresholding": true, "dynamic_thresholding_ratio": 2)",
       "dynamic_thresholding_ratio"},
      {kDpm, R"("algorithm_type": "sde-dpmsolver")", "algorithm_type"},
      {kDpm, R"("algorithm_type": "sde-dpmsolver++", "solver_order": 4)", "solver_order"},
      {kDpm, R"("solver_order": 4)", "solver_order"},
      {kDpm, R"("solver_type": "euler")", "solver_type"},
      {kDpm, R"("final_sigmas_type": "one")", "final_sigmas_type"},
      {kDpm, R"("use_dynamic_shifting": true)", "use_dynamic_shifting"},
      {kDpm, R"("use_exponential_sigmas": true, "use_karras_sigmas": true)",
       "use_exponential_sigmas"},
      {kDpm, R"("lambda_min_clipped": NaN)", "lambda_min_clipped"},
      {kSinglestep, R"("algorithm_type": "sde-dpmsolver++", "solver_order": 4)", "solver_order"},
      {kDeis, R"("algorithm_type": "sde-dpmsolver++")", "algorithm_type"},
      {kDeis, R"("solver_type": "rho")", "solver_type"},
      {kLcm, R"("original_inference_steps": 2.5)", "original_inference_steps"},
      {kLcm, R"("timestep_scaling": -1)", "timestep_scaling"},
      {kPndm, R"("skip_prk_steps": 1)", "skip_prk_steps"},
      {kUniPc, R"("predict_x0": 0)", "predict_x0"},
      {kDdpm, R"("predict_epsilon": 1)", "predict_epsilon"},
      {kDdpm, R"("timesteps": 0)", "num_train_timesteps"},
      {kDdpm, R"("betas": [0.1, "x"])", "betas"},
      {kUniPc, R"("solver_p": "DDIMScheduler")", "solver_p"},
      {kUniPc, R"("sigma_max": 80.0)", "sigma_max"},
      {kUniPc, R"("disable_corrector": [0.5])", "disable_corrector"},
      {kUniPc, R"("disable_corrector": [-1])", "disable_corrector"},
      {kEuler, R"("use_beta_sigmas": true, "use_karras_sigmas": true)", "use_beta_sigmas"},
      {kEuler, R"("interpolation_type": "cubic")", "interpolation_type"},
      {kEuler, R"("timestep_type": "none")", "timestep_type"},
      {kEuler, R"("sigma_min": -0.1)", "sigma_min"},
      {kEuler, R"("sigma_max": "80")", "sigma_max"},
      {kEuler, R"("prediction_type": "flow_prediction")", "prediction_type"},
      {"LMSDiscreteScheduler", "", "_class_name"},
      {"", "", "_class_name"},
  };
  for (const BadConfig& bad : bad_configs) {
    const absl::Status status = ParseSchedulerConfig(Config(bad.class_name, bad.keys)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.keys;
    EXPECT_THAT(GetFieldViolations(status),
                testing::ElementsAre(testing::Field(&FieldViolation::field, bad.field)))
        << bad.keys << ": " << status;
  }
}

TEST(ParseSchedulerConfig, RefusesTextThatIsNotAConfig) {
  for (const char* text :
       {"", "{}", "null", "[]", R"({"_class_name": 5})", R"({"_class_name": ["DDIMScheduler"]})",
        R"({"_class_name": "DDIMScheduler", "_class_name": "DDPMScheduler"})",
        R"({"_class_name": "DDIMScheduler", "beta_start": {"a": 1}})"}) {
    EXPECT_EQ(ParseSchedulerConfig(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(ParseSchedulerConfig, MessagesStayShortAndPrintable) {
  const std::string hostile = "\"" + std::string(5000, 'k') +
                              "\\u001b[31m\": 1, \"beta_schedule\": \"\\u0007" +
                              std::string(5000, 'v') + "\"";
  const absl::Status status = ParseSchedulerConfig(Config(kDdim, hostile)).status();
  EXPECT_LT(status.message().size(), 1000u);
  for (char c : status.message()) EXPECT_GE(c, ' ');
}

TEST(ParseSchedulerConfig, SurvivesAnyValueForAnyKey) {
  const nlohmann::json values[] = {nullptr,
                                   true,
                                   false,
                                   0,
                                   -1,
                                   1e308,
                                   -1e-308,
                                   2147483648.0,
                                   "",
                                   "x",
                                   nlohmann::json::array(),
                                   {0.5},
                                   {nullptr},
                                   {"a"}};
  const char* const keys[] = {"num_train_timesteps",
                              "beta_start",
                              "beta_end",
                              "beta_schedule",
                              "trained_betas",
                              "solver_order",
                              "prediction_type",
                              "thresholding",
                              "dynamic_thresholding_ratio",
                              "sample_max_value",
                              "solver_type",
                              "lower_order_final",
                              "final_sigmas_type",
                              "timestep_spacing",
                              "steps_offset",
                              "rescale_betas_zero_snr",
                              "use_karras_sigmas",
                              "flow_shift",
                              "lambda_min_clipped",
                              "disable_corrector",
                              "predict_x0",
                              "predict_epsilon",
                              "timesteps",
                              "betas",
                              "clip_sample_range",
                              "set_alpha_to_one",
                              "variance_type",
                              "algorithm_type",
                              "sigma_schedule",
                              "sigma_min",
                              "sigma_max",
                              "sigma_data",
                              "rho",
                              "shift",
                              "shift_terminal",
                              "use_dynamic_shifting",
                              "max_image_seq_len",
                              "invert_sigmas",
                              "stochastic_sampling",
                              "interpolation_type",
                              "timestep_type",
                              "clip_denoised",
                              "_class_name"};
  for (const char* class_name : kAllClasses) {
    for (const char* key : keys) {
      for (const nlohmann::json& value : values) {
        nlohmann::json json = {{"_class_name", class_name}};
        json[key] = value;
        const absl::StatusOr<SchedulerConfig> config = ParseSchedulerConfig(json.dump());
        if (!config.ok()) continue;
        const absl::StatusOr<Schedule> schedule = Schedule::Create(config->schedule);
        ASSERT_TRUE(schedule.ok()) << json;
        (void)CompilePlan(*schedule, config->sampler).ok();
      }
    }
  }
}

TEST(SwitchSampler, KeepsTheConfigForItsOwnSampler) {
  const SchedulerConfig config =
      Parse(kDdpm, R"("clip_sample": false, "variance_type": "fixed_large")");
  const SamplerOptions same = SwitchSampler(config, SamplerKind::kDdpm);
  EXPECT_FALSE(same.clip_sample);
  EXPECT_EQ(same.variance_type, VarianceType::kFixedLarge);
}

TEST(SwitchSampler, CarriesOverWhatMeansTheSameToBoth) {
  const SchedulerConfig config =
      Parse(kDdpm, R"("prediction_type": "v_prediction", "timestep_spacing": "trailing",
      "steps_offset": 1, "thresholding": true, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9,
      "clip_sample": true, "clip_sample_range": 2.0)");
  for (SamplerKind sampler :
       {SamplerKind::kDdim, SamplerKind::kDpmSolverPlusPlus, SamplerKind::kUniPc}) {
    const SamplerOptions options = SwitchSampler(config, sampler);
    EXPECT_EQ(options.sampler, sampler);
    EXPECT_EQ(options.prediction_type, PredictionType::kVPrediction);
    EXPECT_EQ(options.timestep_spacing, TimestepSpacing::kTrailing);
    EXPECT_EQ(options.steps_offset, 1);
    EXPECT_TRUE(options.thresholding);
    EXPECT_EQ(options.sample_max_value, 1.5);
    EXPECT_EQ(options.dynamic_thresholding_ratio, 0.9);
  }
  EXPECT_EQ(SwitchSampler(config, SamplerKind::kDdim).clip_sample_range, 2);
  EXPECT_EQ(SwitchSampler(config, SamplerKind::kHeun).clip_sample_range, 2);
  EXPECT_FALSE(SwitchSampler(config, SamplerKind::kUniPc).clip_sample);
}

TEST(SwitchSampler, CarriesNoiseLevelsBetweenSolvers) {
  const SchedulerConfig config =
      Parse(kDpm, R"("use_karras_sigmas": true, "final_sigmas_type": "sigma_min",
      "solver_order": 3, "solver_type": "heun", "euler_at_final": true, "lower_order_final": false)");
  const SamplerOptions unipc = SwitchSampler(config, SamplerKind::kUniPc);
  EXPECT_EQ(unipc.sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(unipc.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(unipc.solver_order, 3);
  EXPECT_EQ(unipc.solver_type, std::nullopt);
  const SamplerOptions sde = SwitchSampler(config, SamplerKind::kSdeDpmSolverPlusPlus);
  EXPECT_EQ(sde.solver_type, SolverType::kHeun);
  EXPECT_EQ(sde.solver_order, 3);
  EXPECT_TRUE(sde.euler_at_final);
}

TEST(SwitchSampler, DeisDoesNotChooseWhereARunEnds) {
  const SchedulerConfig dpm = Parse(kDpm, R"("solver_order": 3, "lower_order_final": false)");
  const SamplerOptions deis = SwitchSampler(dpm, SamplerKind::kDeis);
  EXPECT_EQ(deis.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(deis.solver_order, 3);
  EXPECT_FALSE(deis.lower_order_final);
  EXPECT_EQ(SwitchSampler(Parse(kDeis), SamplerKind::kEuler).final_sigma, FinalSigma::kZero);
  const SchedulerConfig flow = Parse(kDpm, R"("use_flow_sigmas": true)");
  EXPECT_EQ(SwitchSampler(flow, SamplerKind::kDeis).final_sigma, FinalSigma::kZero);
}

TEST(SwitchSampler, SinglestepSolversEndTheirBlocksByTheirOwnDefault) {
  const SchedulerConfig config = Parse(kDpm, R"("solver_type": "heun", "euler_at_final": true)");
  const SamplerOptions options = SwitchSampler(config, SamplerKind::kDpmSolverPlusPlusSinglestep);
  EXPECT_EQ(options.solver_type, SolverType::kHeun);
  EXPECT_FALSE(options.lower_order_final);
  EXPECT_FALSE(options.euler_at_final);
  EXPECT_TRUE(SwitchSampler(Parse(kSinglestep), SamplerKind::kDpmSolverPlusPlus).lower_order_final);
}

TEST(SwitchSampler, DdimAndPndmEndAtTheSameLevel) {
  EXPECT_FALSE(SwitchSampler(Parse(kPndm), SamplerKind::kDdim).set_alpha_to_one);
  EXPECT_TRUE(SwitchSampler(Parse(kDdim), SamplerKind::kPlms).set_alpha_to_one);
  const SchedulerConfig lcm = Parse(kLcm, R"("original_inference_steps": 100)");
  EXPECT_EQ(SwitchSampler(lcm, SamplerKind::kTcd).original_inference_steps, 100);
  EXPECT_EQ(SwitchSampler(lcm, SamplerKind::kTcd).eta, 0.3);
}

TEST(SwitchSampler, FlowLevelsStayWithTheSolvers) {
  const SchedulerConfig karras =
      Parse(kEuler, R"("use_karras_sigmas": true, "final_sigmas_type": "sigma_min")");
  EXPECT_EQ(SwitchSampler(karras, SamplerKind::kUniPc).sigma_spacing, SigmaSpacing::kKarras);
  EXPECT_EQ(SwitchSampler(karras, SamplerKind::kUniPc).final_sigma, FinalSigma::kSigmaMin);
  const SchedulerConfig flow = Parse(kDpm, R"("use_flow_sigmas": true)");
  EXPECT_EQ(SwitchSampler(flow, SamplerKind::kEuler).sigma_spacing, SigmaSpacing::kTimesteps);
}

TEST(SwitchSampler, YieldsAPlanForEverySamplerThatSuitsTheSchedule) {
  for (const char* class_name : kAllClasses) {
    const SchedulerConfig config = Parse(class_name);
    const absl::StatusOr<Schedule> schedule = Schedule::Create(config.schedule);
    ASSERT_TRUE(schedule.ok());
    for (const auto& [name, sampler] : kNames<SamplerKind>) {
      const absl::StatusOr<SamplerPlan> plan =
          CompilePlan(*schedule, SwitchSampler(config, sampler));
      if (SuitsFamily(sampler, schedule->family())) {
        EXPECT_TRUE(plan.ok()) << class_name << " to " << name << ": " << plan.status();
      } else {
        EXPECT_THAT(GetFieldViolations(plan.status()),
                    testing::ElementsAre(testing::Field(&FieldViolation::field, "sampler")));
      }
    }
  }
}

}  // namespace
}  // namespace denoise
