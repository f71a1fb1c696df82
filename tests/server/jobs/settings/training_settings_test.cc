#include "server/jobs/settings/training_settings.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/io/new_model.h"
#include "server/jobs/settings/evaluation_settings.h"
#include "server/models/model_loader.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::EvaluationSettings;
using denoised::v1::Objective;
using denoised::v1::TrainingSettings;
using ::testing::ElementsAre;

NewModelOptions Network() {
  NewModelOptions options;
  options.height = 16;
  options.width = 16;
  options.block_out_channels = {8};
  options.attention_levels = std::vector<int64_t>();
  return options;
}

ModelInfo ModelOf(const NewModelOptions& options) {
  const auto model = NewModel(options);
  EXPECT_TRUE(model.ok()) << model.status();
  return InfoOf(model->description());
}

Dataset DataSetOf(const std::vector<std::string>& classes, int64_t pictures = 100) {
  Dataset data_set;
  data_set.mutable_report()->set_pictures(pictures);
  for (const std::string& name : classes) {
    data_set.mutable_report()->add_classes()->set_display_name(name);
  }
  return data_set;
}

TrainingSettings Settings() {
  TrainingSettings settings;
  settings.mutable_new_network();
  settings.set_max_steps(10);
  return settings;
}

absl::StatusOr<TrainingSettings> Resolve(const TrainingSettings& settings, const ModelInfo& model,
                                         const Dataset& data_set,
                                         at::DeviceType device = at::kCPU) {
  return ResolveTraining(settings, {.model = model, .data_set = data_set, .device = device});
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const auto& violation : GetFieldViolations(status)) fields.push_back(violation.field);
  return fields;
}

TEST(TrainingSettings, ALearnedVarianceIsTrainedByTheHybridLoss) {
  NewModelOptions options = Network();
  options.learned_variance = true;

  const auto settings = Resolve(Settings(), ModelOf(options), DataSetOf({}));

  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->objective().loss(), Objective::HYBRID);
  EXPECT_EQ(settings->objective().vlb_weight(), 0.001);
  EXPECT_EQ(TrainingOptionsOf(*settings).objective.loss, LossKind::kHybrid);
}

TEST(TrainingSettings, EdmHasAWeightingAndTimestepsOfItsOwn) {
  NewModelOptions options = Network();
  options.noise_schedule = "edm";

  const auto settings = Resolve(Settings(), ModelOf(options), DataSetOf({}));

  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->objective().weighting(), Objective::EDM);
  EXPECT_EQ(settings->objective().timestep_sampling(), Objective::LOG_NORMAL);
  EXPECT_EQ(settings->objective().log_normal_mean(), -1.2);
  EXPECT_EQ(settings->objective().log_normal_std(), 1.2);
}

TEST(TrainingSettings, OnAFlowLogitsAreStandardNormal) {
  NewModelOptions options = Network();
  options.noise_schedule = "flow";
  TrainingSettings request = Settings();
  EXPECT_EQ(Resolve(request, ModelOf(options), DataSetOf({}))->objective().timestep_sampling(),
            Objective::TIMESTEP_SAMPLING_UNIFORM);
  request.mutable_objective()->set_timestep_sampling(Objective::LOG_NORMAL);

  const auto settings = Resolve(request, ModelOf(options), DataSetOf({}));

  EXPECT_EQ(settings->objective().log_normal_mean(), 0);
  EXPECT_EQ(settings->objective().log_normal_std(), 1);
}

TEST(TrainingSettings, WhatNothingReadsIsRefused) {
  TrainingSettings request = Settings();
  request.mutable_objective()->set_vlb_weight(0.1);
  request.mutable_objective()->set_min_snr_gamma(5);
  request.mutable_objective()->set_p2_k(1);
  request.mutable_objective()->set_log_normal_std(1);
  request.mutable_objective()->set_label_dropout(0.5);
  request.mutable_samples()->set_guidance_scale(3);

  EXPECT_THAT(
      FieldsOf(Resolve(request, ModelOf(Network()), DataSetOf({})).status()),
      ElementsAre("objective.vlb_weight", "objective.min_snr_gamma", "objective.p2_k",
                  "objective.log_normal_std", "objective.label_dropout", "samples.guidance_scale"));
}

TEST(TrainingSettings, WhatWasResolvedIsResolvedAlready) {
  NewModelOptions options = Network();
  options.class_names = {"cat", "dog"};
  const Dataset data_set = DataSetOf({"cat", "dog"});
  TrainingSettings request = Settings();
  request.mutable_evaluations()->set_every_n_steps(5);
  request.mutable_objective()->set_weighting(Objective::MIN_SNR);
  const auto once = Resolve(request, ModelOf(options), data_set);
  ASSERT_TRUE(once.ok()) << once.status();

  const auto twice = Resolve(*once, ModelOf(options), data_set);

  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_EQ(twice->SerializeAsString(), once->SerializeAsString());
}

TEST(TrainingSettings, OptionsAreTheCoresByName) {
  TrainingSettings request = Settings();
  request.set_seed(7);
  request.set_batch_size(12);
  request.add_ema_decays(0.9);
  request.add_ema_decays(0.99);
  request.set_precision(TrainingSettings::BFLOAT16);
  request.mutable_augmentation()->set_horizontal_flip(true);
  request.mutable_optimizer()->set_warmup_steps(3);
  request.mutable_optimizer()->set_decay(denoised::v1::Optimizer::COSINE);
  request.mutable_objective()->set_weighting(Objective::P2);
  request.mutable_objective()->set_p2_gamma(0.5);

  const TrainingOptions options =
      TrainingOptionsOf(*Resolve(request, ModelOf(Network()), DataSetOf({})));

  EXPECT_EQ(options.seed, 7u);
  EXPECT_EQ(options.max_steps, 10);
  EXPECT_EQ(options.batch_size, 12);
  EXPECT_EQ(options.micro_batch_size, 8);
  EXPECT_THAT(options.ema_decays, ElementsAre(0.9, 0.99));
  EXPECT_EQ(options.precision, TrainingPrecision::kBFloat16);
  EXPECT_TRUE(options.augmentation.horizontal_flip);
  EXPECT_EQ(options.augmentation.random_crop_scale, 1);
  EXPECT_EQ(options.optimizer.warmup_steps, 3);
  EXPECT_EQ(options.optimizer.decay, LearningRateDecay::kCosine);
  EXPECT_EQ(options.objective.weighting, LossWeighting::kP2);
  EXPECT_EQ(options.objective.p2_gamma, 0.5);
  EXPECT_EQ(options.max_non_finite_steps, 10);
}

TEST(TrainingSettings, PrecisionAndBatchesSuitTheDevice) {
  TrainingSettings request = Settings();
  const ModelInfo model = ModelOf(Network());
  const auto on_gpu = Resolve(request, model, DataSetOf({}), at::kCUDA);
  EXPECT_EQ(on_gpu->precision(), TrainingSettings::BFLOAT16);
  EXPECT_EQ(on_gpu->micro_batch_size(), 64);
  request.set_precision(TrainingSettings::FLOAT16);
  EXPECT_TRUE(Resolve(request, model, DataSetOf({}), at::kCUDA).ok());
  EXPECT_THAT(FieldsOf(Resolve(request, model, DataSetOf({})).status()), ElementsAre("precision"));
}

TEST(TrainingSettings, ANetworkCallIsBoundedByItsPixels) {
  TrainingSettings request = Settings();
  request.set_batch_size(1 << 16);
  const ModelInfo model = ModelOf(Network());
  EXPECT_EQ(Resolve(request, model, DataSetOf({}), at::kCUDA)->micro_batch_size(),
            (1 << 22) / (16 * 16));
  request.set_micro_batch_size(1 << 20);

  EXPECT_THAT(FieldsOf(Resolve(request, model, DataSetOf({})).status()),
              ElementsAre("micro_batch_size"));
}

TEST(TrainingSettings, TheDataSetHasTheClassesOfTheModel) {
  NewModelOptions options = Network();
  options.class_names = {"cat", "dog"};
  const ModelInfo model = ModelOf(options);

  for (const auto& classes :
       std::vector<std::vector<std::string>>{{"cat", "dog"}, {"dog", "cat"}, {"dog"}}) {
    EXPECT_TRUE(Resolve(Settings(), model, DataSetOf(classes)).ok());
  }
  for (const auto& classes :
       std::vector<std::vector<std::string>>{{}, {"cow"}, {"cat", "cow"}, {"cat", "dog", "emu"}}) {
    EXPECT_THAT(FieldsOf(Resolve(Settings(), model, DataSetOf(classes)).status()),
                ElementsAre("dataset"));
  }
}

TEST(TrainingSettings, AServedModelWithoutClassesTakesADataSetWithoutClasses) {
  TrainingSettings request = Settings();
  request.set_base_model("models/plain");
  const ModelInfo model = ModelOf(Network());

  EXPECT_TRUE(Resolve(request, model, DataSetOf({})).ok());
  EXPECT_THAT(FieldsOf(Resolve(request, model, DataSetOf({"cat"})).status()),
              ElementsAre("dataset"));
  // A new network may be told to leave them aside.
  EXPECT_TRUE(Resolve(Settings(), model, DataSetOf({"cat"})).ok());
}

TEST(TrainingSettings, EvaluationsWhileTrainingNameNeitherModelNorDataSet) {
  TrainingSettings request = Settings();
  request.mutable_evaluations()->set_every_n_steps(-1);
  request.mutable_evaluations()->mutable_settings()->set_model("models/other");
  request.mutable_evaluations()->mutable_settings()->set_dataset("datasets/other");

  EXPECT_THAT(FieldsOf(Resolve(request, ModelOf(Network()), DataSetOf({})).status()),
              ElementsAre("evaluations.every_n_steps", "evaluations.settings.model",
                          "evaluations.settings.dataset"));
}

TEST(EvaluationSettings, DefaultsSuitTheDataSet) {
  const auto few =
      ResolveEvaluation({}, {.model = ModelOf(Network()), .data_set = DataSetOf({}, 3), .seed = 9});

  ASSERT_TRUE(few.ok()) << few.status();
  EXPECT_EQ(few->sample_count(), 3);
  EXPECT_EQ(few->nearest_neighbours(), 2);
  EXPECT_EQ(few->seed(), 9u);
  EXPECT_EQ(few->features(), EvaluationSettings::RANDOM_CONVOLUTIONS);
  EXPECT_EQ(few->guidance_scale(), 1);
  const auto many =
      ResolveEvaluation({}, {.model = ModelOf(Network()), .data_set = DataSetOf({}, 5000)});
  EXPECT_EQ(many->sample_count(), 1000);
  EXPECT_EQ(many->nearest_neighbours(), 5);
}

// The variance of p(x_s | x_t) by which bits per dimension are measured, where the network's second
// half is 0.25 everywhere.
double VarianceInBound(VarianceType stated) {
  NewModelOptions options = Network();
  options.learned_variance = true;
  ModelInfo model = ModelOf(options);
  model.scheduler.sampler.variance_type = stated;
  EvaluationSettings settings;
  settings.set_bits_per_dim_pictures(1);
  const auto resolved =
      ResolveEvaluation(settings, {.model = model, .data_set = DataSetOf({}, 10)});
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  const auto setup = EvaluationSetupOf(*resolved, {.model = model, .data = nullptr});
  EXPECT_TRUE(setup.ok()) << setup.status();
  const at::Tensor output = at::full({1, 6, 16, 16}, 0.25), x_t = at::zeros({1, 3, 16, 16});
  return setup->bound->Predict(output, x_t, {500}).x_s.variance.mean().item<double>();
}

TEST(EvaluationSettings, BitsPerDimensionReadTheVarianceAsTheSchedulerDoes) {
  EXPECT_EQ(VarianceInBound(VarianceType::kLearned), 0.25);
  const double range = VarianceInBound(VarianceType::kLearnedRange);
  EXPECT_LT(range, 0.1);
  // A scheduler without a choice, DDIM's, says nothing of the second half.
  EXPECT_EQ(VarianceInBound(VarianceType::kFixedSmall), range);
}

TEST(EvaluationSettings, EverythingThatIsWrongIsNamed) {
  NewModelOptions flow = Network();
  flow.noise_schedule = "flow";
  EvaluationSettings settings;
  settings.set_sample_count(1);
  settings.set_nearest_neighbours(0);
  settings.set_guidance_scale(3);
  settings.set_bits_per_dim_pictures(10);  // a flow has no variational bound
  settings.set_features(static_cast<EvaluationSettings::Features>(77));

  const absl::Status status =
      ResolveEvaluation(settings, {.model = ModelOf(flow), .data_set = DataSetOf({})}).status();

  EXPECT_THAT(FieldsOf(status), ElementsAre("sample_count", "nearest_neighbours", "guidance_scale",
                                            "features", "bits_per_dim_pictures"));
}

}  // namespace
}  // namespace denoise
