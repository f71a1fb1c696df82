#include "core/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <new>

#include "core/train/optimizer.h"
#include "tests/core/train/trainer_testing.h"

namespace denoise {
namespace {

using absl::StatusCode;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Trainer, MakesTheLossSmaller) {
  TrainingOptions options = SmallOptions();
  const auto trainer = Make(options);
  const std::vector<StepReport> reports = Train(*trainer, 200);
  EXPECT_TRUE(trainer->done());
  EXPECT_LT(MeanLoss(reports, 180, 20), 0.9 * MeanLoss(reports, 0, 20));
  EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kFailedPrecondition);
}

TEST(Trainer, FollowsTheScheduleOfTheLearningRate) {
  TrainingOptions options = SmallOptions();
  options.max_steps = 10;
  options.optimizer.warmup_steps = 3;
  options.optimizer.decay = LearningRateDecay::kCosine;
  const std::vector<StepReport> reports = Train(*Make(options), 10);
  for (const StepReport& report : reports) {
    EXPECT_EQ(report.learning_rate, LearningRateAt(options.optimizer, 10, report.step));
  }
}

TEST(Trainer, ASliceIsOneNetworkCallAndTheLastOneOfAStepReports) {
  std::vector<int64_t> rows;
  const auto trainer = Make(SmallOptions(), {.hook = [&](const TinyNetworkCall& call) {
                              rows.push_back(call.input.x.size(0));
                              return 1.0F;
                            }});
  std::vector<bool> reported;
  for (int slice = 0; slice < 6; ++slice) reported.push_back(trainer->RunSlice()->has_value());
  EXPECT_THAT(rows, testing::ElementsAre(3, 3, 1, 3, 3, 1));
  EXPECT_THAT(reported, testing::ElementsAre(false, false, true, false, false, true));
  EXPECT_EQ(trainer->steps_done(), 2);
}

TEST(Trainer, MicroBatchesAddUpToTheWholeBatch) {
  TrainingOptions options = SmallOptions();
  options.objective.label_dropout = 0.5;
  options.micro_batch_size = options.batch_size;
  const TinyNetworkOptions network = {.num_class_embeds = 4};
  const auto whole = Make(options, network);
  const std::vector<StepReport> whole_reports = Train(*whole, 10);
  for (const int micro_batch_size : {1, 2, 3, 6, 50}) {
    options.micro_batch_size = micro_batch_size;
    const auto parts = Make(options, network);
    const std::vector<StepReport> reports = Train(*parts, 10);
    for (size_t i = 0; i < reports.size(); ++i) {
      EXPECT_NEAR(reports[i].loss, whole_reports[i].loss, 1e-5);
      EXPECT_NEAR(reports[i].gradient_norm, whole_reports[i].gradient_norm, 1e-5);
    }
    EXPECT_TRUE(Close(SnapshotOf(*parts).tensors, SnapshotOf(*whole).tensors, 1e-4, 1e-5))
        << micro_batch_size;
  }
}

TEST(Trainer, ClipsTheGradientAndReportsItAsItWas) {
  TrainingOptions options = SmallOptions();
  options.optimizer.max_gradient_norm = 0.01;
  options.optimizer.beta1 = 0;
  const auto trainer = Make(options);
  const StepReport report = Train(*trainer, 1).front();
  EXPECT_GT(report.gradient_norm, 0.02);
  double squared = 0;  // without momentum the first moments are the gradient
  for (const auto& [name, tensor] : SnapshotOf(*trainer).tensors) {
    if (name.starts_with("adam.m.")) squared += tensor.pow(2).sum().item<double>();
  }
  EXPECT_NEAR(std::sqrt(squared), 0.01, 1e-5);
}

TEST(Trainer, WeightsWithoutGradientsDoNotChange) {
  TrainingOptions options = SmallOptions();
  options.optimizer.weight_decay = 0.5;
  const auto trainer = Make(options);
  const StateDict before = SnapshotOf(*trainer).tensors;
  Train(*trainer, 3);
  const StateDict after = SnapshotOf(*trainer).tensors;
  for (const std::string name : {"weights.unused", "ema.0.unused", "ema.1.unused"}) {
    EXPECT_TRUE(at::equal(before.at(name), after.at(name))) << name;
  }
  EXPECT_FALSE(at::equal(before.at("weights.in"), after.at("weights.in")));
}

TEST(Trainer, NoGraphOutlivesItsSlice) {
  Trainer::Setup setup = TinySetup({}, SmallOptions());
  std::vector<std::weak_ptr<const Network>> networks;
  setup.binder = [&, bind = setup.binder](const StateDict& weights, at::ScalarType dtype) {
    auto network = bind(weights, dtype);
    networks.push_back(network);
    return network;
  };
  const auto trainer = Make(setup);
  for (int slice = 0; slice < 4; ++slice) {
    ASSERT_TRUE(trainer->RunSlice().ok());
    for (const auto& network : networks) EXPECT_TRUE(network.expired());
  }
}

TEST(Trainer, AStepThatIsNotFiniteChangesNothingAndIsCounted) {
  // The second network call of step 3: what the first has added must not stay, either.
  const auto trainer =
      Make(SmallOptions(),
           {.hook = [](const TinyNetworkCall& call) { return call.number == 8 ? kNan : 1.0F; }});
  Train(*trainer, 2);
  const TrainingSnapshot before = SnapshotOf(*trainer);
  const StepReport report = Train(*trainer, 1).front();
  EXPECT_TRUE(report.skipped);
  EXPECT_EQ(report.step, 3);
  EXPECT_FALSE(std::isfinite(report.loss));
  EXPECT_TRUE(BitEqual(SnapshotOf(*trainer).tensors, before.tensors));
  EXPECT_EQ(trainer->steps_done(), 3);
  EXPECT_EQ(trainer->non_finite_steps(), 1);
  const StepReport next = Train(*trainer, 1).front();
  EXPECT_FALSE(next.skipped);
  EXPECT_TRUE(std::isfinite(next.gradient_norm));
  EXPECT_FALSE(BitEqual(SnapshotOf(*trainer).tensors, before.tensors));
  EXPECT_EQ(trainer->non_finite_steps(), 1);
}

// Adam's bias correction and the averages' warm-up count updates: steps 1, 2 and 4 here.
TEST(Trainer, SkippedStepsCountForNeitherMomentsNorAverages) {
  TrainingOptions options = SmallOptions();
  options.micro_batch_size = options.batch_size;
  options.optimizer.learning_rate = 1;
  options.ema_decays = {0.999};
  const auto trainer =
      Make(options,
           {.hook = [](const TinyNetworkCall& call) { return call.number == 3 ? kNan : 1.0F; }});
  Train(*trainer, 3);
  const StateDict before = SnapshotOf(*trainer).tensors;
  Train(*trainer, 1);
  const StateDict after = SnapshotOf(*trainer).tensors;
  const double decay = 3.0 / 12;  // two updates came before
  EXPECT_TRUE(at::allclose(after.at("ema.0.in"),
                           before.at("ema.0.in") * decay + after.at("weights.in") * (1 - decay)));
  const at::Tensor m = after.at("adam.m.in") / (1 - std::pow(0.9, 3));
  const at::Tensor v = after.at("adam.v.in") / (1 - std::pow(0.999, 3));
  EXPECT_TRUE(at::allclose(after.at("weights.in"), before.at("weights.in") - m / (v.sqrt() + 1e-8),
                           1e-4, 1e-5));
}

TEST(Trainer, StopsAfterTooManyStepsInARowThatAreNotFinite) {
  TrainingOptions options = SmallOptions();
  options.micro_batch_size = options.batch_size;
  options.max_non_finite_steps = 3;
  const auto trainer = Make(options, {.hook = [](const TinyNetworkCall& call) {
                              const bool spoilt =
                                  call.number == 2 || call.number == 3 || call.number >= 5;
                              return spoilt && call.number < 8 ? kNan : 1.0F;
                            }});
  Train(*trainer, 4);  // two in a row are not too many
  const TrainingSnapshot snapshot = SnapshotOf(*trainer);
  Train(*trainer, 2);
  EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kAborted);
  EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kAborted);
  ASSERT_TRUE(trainer->Restore(snapshot).ok());
  EXPECT_EQ(trainer->non_finite_steps(), 2);
  EXPECT_FALSE(Train(*trainer, 1).front().skipped);
}

TEST(Trainer, NamesTheStepsAndWhatOfThemWasNotFinite) {
  TrainingOptions options = SmallOptions();
  options.micro_batch_size = options.batch_size;
  options.max_non_finite_steps = 2;
  const auto trainer =
      Make(options,
           {.hook = [](const TinyNetworkCall& call) { return call.number >= 4 ? kNan : 1.0F; }});
  Train(*trainer, 3);
  EXPECT_TRUE(trainer->CheckUsable().ok()) << trainer->CheckUsable();
  Train(*trainer, 1);
  EXPECT_EQ(trainer->CheckUsable(), absl::AbortedError("the loss was not finite at step 4"));
  EXPECT_EQ(trainer->RunSlice().status(),
            absl::AbortedError("the loss was not finite from step 4 to step 5"));
}

TEST(Trainer, NamesAWeightOrAverageThatIsNotFinite) {
  Trainer::Setup setup = TinySetup({}, SmallOptions());
  setup.weights.at("unused") = setup.weights.at("unused") * INFINITY;
  const auto trainer = Make(setup);
  Train(*trainer, 1);
  EXPECT_EQ(trainer->CheckUsable(),
            absl::AbortedError("the weight unused is not finite after step 1"));
}

TEST(Trainer, TheGreatestRateMakesALossThatIsNotFiniteAndNoOtherError) {
  TrainingOptions options = SmallOptions();
  options.max_non_finite_steps = 2;
  options.optimizer.learning_rate = 3e38;
  options.optimizer.weight_decay = 1e10;
  const auto trainer = Make(options);
  const absl::Status status = RunSteps(*trainer, 5).status();
  EXPECT_EQ(status.code(), StatusCode::kAborted) << status;
}

TEST(Trainer, FailsIfGradientsAreNotRecorded) {
  const auto trainer = Make(SmallOptions());
  {
    const c10::InferenceMode inference;
    EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(Trainer::Create(TinySetup({}, SmallOptions())).status().code(),
              StatusCode::kFailedPrecondition);
  }
  {
    const c10::AutoGradMode no_gradients(false);
    EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(trainer->RunSlice().ok());
}

TEST(Trainer, ErrorsOfTheBatchSourceDoNotAffectTheStep) {
  const Trainer::Setup setup = TinySetup({}, SmallOptions());
  auto& batches = dynamic_cast<FakeBatches&>(*setup.batches);
  const auto trainer = Make(setup);
  ASSERT_TRUE(trainer->RunSlice().ok());
  batches.FailNext(absl::DataLossError("cat.png"));
  EXPECT_EQ(trainer->RunSlice().status(), absl::DataLossError("cat.png"));
  Train(*trainer, 3);
  const auto undisturbed = Make(SmallOptions());
  Train(*undisturbed, 3);
  EXPECT_TRUE(BitEqual(SnapshotOf(*trainer).tensors, SnapshotOf(*undisturbed).tensors));
}

TEST(Trainer, AStepCanBeRetriedAfterADeviceError) {
  const auto trainer = Make(SmallOptions(), {.hook = [](const TinyNetworkCall& call) {
                              if (call.number == 5) throw std::bad_alloc();
                              if (call.number == 8)
                                throw std::runtime_error("a wire is loose\nat line 5");
                              return 1.0F;
                            }});
  Train(*trainer, 1);
  ASSERT_TRUE(trainer->RunSlice().ok());
  EXPECT_EQ(trainer->RunSlice().status().code(), StatusCode::kResourceExhausted);
  ASSERT_TRUE(trainer->RunSlice().ok());
  ASSERT_TRUE(trainer->RunSlice().ok());
  EXPECT_EQ(trainer->RunSlice().status(),
            absl::InternalError("the device failed: a wire is loose"));
  Train(*trainer, 2);
  const auto undisturbed = Make(SmallOptions());
  Train(*undisturbed, 3);
  EXPECT_TRUE(BitEqual(SnapshotOf(*trainer).tensors, SnapshotOf(*undisturbed).tensors));
}

TEST(Trainer, PicturesThatDoNotSuitTheNetworkAreRefused) {
  Trainer::Setup setup = TinySetup({}, SmallOptions());
  setup.batches = std::make_shared<FakeBatches>(3, 4, 4, 0);
  EXPECT_EQ(Make(setup)->RunSlice().status().code(), StatusCode::kInvalidArgument);
  setup = TinySetup({.num_class_embeds = 2}, SmallOptions());
  setup.batches = std::make_shared<FakeBatches>(1, 4, 4, 3);
  EXPECT_EQ(Make(setup)->RunSlice().status().message(),
            "a picture has class 2, but the network has 2 classes");
}

TEST(Trainer, TellsTheDroppedPartOfRowsTheNullClass) {
  TrainingOptions options = SmallOptions();
  options.objective.label_dropout = 1;
  std::vector<int64_t> labels;
  const auto trainer =
      Make(options, {.num_class_embeds = 4, .hook = [&](const TinyNetworkCall& call) {
                       labels.push_back(call.input.conditions.class_labels.min().item<int64_t>());
                       return 1.0F;
                     }});
  Train(*trainer, 1);
  EXPECT_THAT(labels, testing::Each(3));
}

TEST(Trainer, NamesWhatDoesNotSuitTheNetwork) {
  TrainingOptions options = SmallOptions();
  options.objective.label_dropout = 0.1;
  options.objective.loss = LossKind::kHybrid;
  EXPECT_THAT(ViolatedFields(Trainer::Create(TinySetup({}, options)).status()),
              testing::UnorderedElementsAre("objective.label_dropout", "objective.loss"));
  options = SmallOptions();
  options.optimizer.learning_rate = std::nan("");
  EXPECT_THAT(ViolatedFields(Trainer::Create(TinySetup({}, options)).status()),
              testing::ElementsAre("optimizer.learning_rate"));
}

}  // namespace
}  // namespace denoise
