#include "core/evaluation/model_evaluation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <numbers>
#include <stdexcept>

#include "core/base/field_violations.h"
#include "core/diffusion/bits_per_dim.h"
#include "core/diffusion/sample.h"
#include "core/evaluation/untrained_features.h"
#include "core/sampling/samplers/compile_plan.h"
#include "tests/core/evaluation/memory_data_set.h"
#include "tests/core/evaluation/random_rows.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

using testing::ElementsAre;
using testing::Pair;

constexpr int kSide = 4;
constexpr double kDimensions = kSide * kSide;

Image ToImage(const at::Tensor& sample) {
  const at::Tensor flat = sample.contiguous();
  return ImageFromSample({flat.data_ptr<float>(), static_cast<size_t>(flat.numel())},
                         static_cast<int>(flat.size(0)), static_cast<int>(flat.size(1)),
                         static_cast<int>(flat.size(2)));
}

// Gray pictures of independent pixels, N(mean, 0.2^2).
constexpr double kDeviation = 0.2;
std::vector<Image> GaussianPictures(int count, double mean, uint64_t seed) {
  const at::Tensor x = mean + kDeviation * NormalRows(count, kSide * kSide, seed);
  std::vector<Image> pictures;
  for (int i = 0; i < count; ++i) pictures.push_back(ToImage(x[i].view({1, kSide, kSide})));
  return pictures;
}

Schedule TheSchedule() { return *Schedule::Create(VpOptions{}); }

// The exact denoiser of such pictures, of one mean a class.
std::shared_ptr<const Network> GaussianDenoiser(std::vector<double> means,
                                                GaussianNetwork::Hook hook = nullptr) {
  return std::make_shared<GaussianNetwork>(
      TheSchedule(), GaussianData{.means = std::move(means), .deviation = kDeviation}, 1, kSide,
      kSide, std::move(hook));
}

std::shared_ptr<const SamplerPlan> Plan(int steps) {
  return std::make_shared<const SamplerPlan>(
      *CompilePlan(TheSchedule(), {.sampler = SamplerKind::kDpmSolverPlusPlus, .steps = steps}));
}

// One mode of 300 pictures around 0.25, and samples of just that.
ModelEvaluation::Setup TheSetup() {
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(300, 0.25, 1);
  return {.network = GaussianDenoiser({0.25}),
          .plan = Plan(20),
          .data = data,
          .features = std::make_shared<PixelFeatures>(),
          .options = {.sample_count = 300, .seed = 7}};
}

absl::StatusOr<ModelReport> Evaluate(ModelEvaluation::Setup setup) {
  absl::StatusOr<std::unique_ptr<ModelEvaluation>> evaluation =
      ModelEvaluation::Create(std::move(setup));
  if (!evaluation.ok()) return evaluation.status();
  while (!(*evaluation)->done()) {
    const absl::Status status = (*evaluation)->RunSlice();
    if (!status.ok()) return status;
  }
  return (*evaluation)->report();
}

// Cells of a sheet are 64 pixels, 2 apart.
constexpr int kCell = 64 + 2;

// Whether each cell of a gray sheet is as its neighbour on the right, that is, each sample as the
// nearest picture.
void ExpectEverySampleBesideItself(const Image& sheet) {
  ASSERT_EQ(sheet.width, 8 * kCell + 2);
  for (int y = 0; y < sheet.height; ++y) {
    for (int x = 2; x < sheet.width; ++x) {
      if ((x - 2) / kCell % 2 == 1) continue;
      const size_t pixel = static_cast<size_t>(y) * sheet.width + x;
      ASSERT_EQ(sheet.pixels[pixel], sheet.pixels[pixel + kCell]) << x << ", " << y;
    }
  }
}

// Of two sets of as many rows of one Gaussian, to first order.
double FrechetBias(double rows) {
  return 2 * kDeviation * kDeviation * (kDimensions + kDimensions * (kDimensions + 1) / 4) / rows;
}

TEST(ModelEvaluation, OfTheExactNetworkHasGoodMetrics) {
  ModelEvaluation::Setup setup = TheSetup();
  setup.plan = Plan(150);
  const ModelReport report = *Evaluate(std::move(setup));
  EXPECT_NEAR(report.metrics.frechet_distance, FrechetBias(300), 0.5 * FrechetBias(300));
  EXPECT_GT(report.metrics.precision, 0.7);
  EXPECT_GT(report.metrics.recall, 0.7);
  EXPECT_NEAR(report.metrics.density, 1, 0.2);
  EXPECT_NEAR(report.metrics.coverage, 1 - 1.0 / 32, 0.05);
  EXPECT_EQ(report.memorisation_rate, 0);
  EXPECT_EQ(report.samples, 300);
  EXPECT_EQ(report.pictures, 300);
  EXPECT_EQ(report.pictures_searched, 300);
  EXPECT_FALSE(report.bits_per_dim.has_value());
}

// Too few steps make pictures that are all too likely.
TEST(ModelEvaluation, OfACrudeSamplerShowsTheLossOfVariety) {
  const SetMetrics metrics = Evaluate(TheSetup())->metrics;
  EXPECT_GT(metrics.frechet_distance, 2 * FrechetBias(300));
  EXPECT_GT(metrics.precision, 0.95);
  EXPECT_GT(metrics.density, 2);
  EXPECT_LT(metrics.recall, 0.6);
}

TEST(ModelEvaluation, OfAnInaccurateNetworkShowsItsError) {
  ModelEvaluation::Setup setup = TheSetup();
  setup.network = GaussianDenoiser({-0.15});
  const ModelReport report = *Evaluate(std::move(setup));
  EXPECT_NEAR(report.metrics.frechet_distance, kDimensions * 0.4 * 0.4, 0.3);
  EXPECT_LT(report.metrics.coverage, 0.1);
}

// What the whole is made of, without slices.
TEST(ModelEvaluation, SlicesGiveTheWholeComparison) {
  const ModelEvaluation::Setup setup = TheSetup();
  std::vector<SampleRequest> requests;
  for (uint64_t i = 0; i < 300; ++i) requests.push_back({.seed = 7 + i});
  const at::Tensor samples = Sample(*setup.network, setup.plan, requests);
  at::Tensor sample_rows = at::empty({300, kSide * kSide}), picture_rows = sample_rows.clone();
  for (int64_t i = 0; i < 300; ++i) {
    const std::vector<float> sample = SampleFromImage(ToImage(samples[i]));
    const std::vector<float> picture = SampleFromImage(*setup.data->Read(i));
    std::copy(sample.begin(), sample.end(), sample_rows[i].data_ptr<float>());
    std::copy(picture.begin(), picture.end(), picture_rows[i].data_ptr<float>());
  }
  const SetMetrics expected = *CompareSets(sample_rows, picture_rows, 5);
  const ModelReport report = *Evaluate(setup);
  EXPECT_NEAR(report.metrics.frechet_distance, expected.frechet_distance, 1e-6);
  EXPECT_EQ(report.metrics.precision, expected.precision);
  EXPECT_EQ(report.metrics.recall, expected.recall);
  EXPECT_EQ(report.metrics.density, expected.density);
  EXPECT_EQ(report.metrics.coverage, expected.coverage);
}

TEST(ModelEvaluation, DependsOnNothingButItsSetup) {
  const auto evaluate = [](int64_t batch_rows, uint64_t seed) {
    ModelEvaluation::Setup setup = TheSetup();
    setup.options.batch_rows = batch_rows;
    setup.options.seed = seed;
    return *Evaluate(std::move(setup));
  };
  const ModelReport report = evaluate(8, 7);
  for (const int64_t batch_rows : {8, 7, 64}) {
    const ModelReport again = evaluate(batch_rows, 7);
    EXPECT_EQ(again.metrics, report.metrics) << batch_rows;
    EXPECT_EQ(again.nearest_neighbours_sheet, report.nearest_neighbours_sheet) << batch_rows;
  }
  EXPECT_NE(evaluate(8, 8).metrics, report.metrics);
}

// 40 of 200 samples are in the data, which has 600 pictures: more than the samples are compared
// with.
TEST(ModelEvaluation, FindsCopiesAmongAllPicturesAndShowsThem) {
  ModelEvaluation::Setup setup = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(600, 0.25, 1);
  std::vector<SampleRequest> requests;
  for (uint64_t i = 0; i < 40; ++i) requests.push_back({.seed = 7 + 3 * i});
  const at::Tensor copied = Sample(*setup.network, setup.plan, requests);
  for (int64_t i = 0; i < 40; ++i) data->pictures[(17 * i + 1) % 600] = ToImage(copied[i]);
  setup.data = data;
  setup.options.sample_count = 200;
  const ModelReport report = *Evaluate(std::move(setup));
  EXPECT_EQ(report.pictures, 200);
  EXPECT_EQ(report.pictures_searched, 600);
  EXPECT_DOUBLE_EQ(report.memorisation_rate, 40.0 / 200);

  ASSERT_EQ(report.nearest_neighbours_sheet.height, 4 * kCell + 2);  // 16 pairs
  ExpectEverySampleBesideItself(report.nearest_neighbours_sheet);
}

// Of 100,000 pictures every other is searched: of the copies of four samples two are there.
TEST(ModelEvaluation, SearchesLargeDataSetsInPart) {
  ModelEvaluation::Setup setup = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(100'000, 0.25, 1);
  const std::vector<int64_t> places = {40'000, 70'001, 80'002, 90'003};
  for (uint64_t i = 0; i < 4; ++i) {
    data->pictures[places[i]] = ToImage(Sample(*setup.network, setup.plan, {{.seed = 7 + i}})[0]);
  }
  setup.data = data;
  setup.options.sample_count = 20;
  setup.options.batch_rows = 512;
  setup.options.sheet_samples = 2;
  const ModelReport report = *Evaluate(std::move(setup));
  EXPECT_EQ(report.pictures_searched, kMaxPicturesSearched);
  EXPECT_DOUBLE_EQ(report.memorisation_rate, 2.0 / 20);
  ExpectEverySampleBesideItself(report.nearest_neighbours_sheet);
}

TEST(ModelEvaluation, SamplesHaveTheClassesOfTheDataSet) {
  std::map<int64_t, int> rows;
  ModelEvaluation::Setup setup = TheSetup();
  setup.network = GaussianDenoiser({-0.4, 0.4, 0}, [&](const NetworkInput& input) {
    for (int64_t i = 0; i < input.x.size(0); ++i)
      ++rows[input.conditions.class_labels[i].item<int64_t>()];
  });
  setup.null_class_label = 2;
  auto data = std::make_shared<MemoryDataSet>();
  data->class_names = {"dark", "bright"};
  for (const Image& picture : GaussianPictures(75, -0.4, 1)) data->pictures.push_back(picture);
  for (const Image& picture : GaussianPictures(225, 0.4, 2)) data->pictures.push_back(picture);
  for (int i = 0; i < 300; ++i) data->labels.push_back(i < 75 ? 0 : 1);
  setup.data = data;
  setup.options.sample_count = 100;
  setup.options.sheet_samples = 1;
  EXPECT_LT(Evaluate(setup)->metrics.frechet_distance, 2);  // the modes are 16 * 0.8^2 apart
  // 20 evaluations each, and as many again of the sample on the sheet.
  EXPECT_NEAR(rows[0], 25 * 20, 20);
  EXPECT_NEAR(rows[1], 75 * 20, 20);
  EXPECT_EQ(rows[0] + rows[1], 101 * 20);
  EXPECT_EQ(rows[2], 0);

  setup.options.guidance_scale = 2;
  ASSERT_TRUE(Evaluate(setup).ok());
  EXPECT_EQ(rows[2], 101 * 20);
}

TEST(ModelEvaluation, WithoutClassesInTheDataSamplesHaveNoneOrEachInTurn) {
  std::map<int64_t, int> rows;
  ModelEvaluation::Setup setup = TheSetup();
  setup.network = GaussianDenoiser({-0.4, 0.4, 0}, [&](const NetworkInput& input) {
    for (int64_t i = 0; i < input.x.size(0); ++i)
      ++rows[input.conditions.class_labels[i].item<int64_t>()];
  });
  setup.options.sample_count = 30;
  setup.options.sheet_samples = 30;
  ASSERT_TRUE(Evaluate(setup).ok());
  EXPECT_THAT(rows, ElementsAre(Pair(0, 2 * 10 * 20), Pair(1, 2 * 10 * 20), Pair(2, 2 * 10 * 20)));
  rows.clear();
  setup.null_class_label = 1;
  ASSERT_TRUE(Evaluate(setup).ok());
  EXPECT_THAT(rows, ElementsAre(Pair(1, 2 * 30 * 20)));
}

// Of every twentieth picture, with the noise of its own seed. The bound lies above the entropy of a
// Gaussian pixel, log2(sigma sqrt(2 pi e)) bits and log2(255 / 2) for its bins.
TEST(ModelEvaluation, CountsTheBitsOfPicturesSpreadOverTheData) {
  ModelEvaluation::Setup setup = TheSetup();
  setup.bound = *VariationalBound::Create(TheSchedule(), {});
  setup.options.sample_count = 50;
  setup.options.bits_per_dim_pictures = 15;
  const ModelReport report = *Evaluate(setup);

  const c10::InferenceMode inference;
  std::vector<at::Tensor> pictures;
  std::vector<uint64_t> seeds;
  for (int i = 0; i < 15; ++i) {
    std::vector<float> sample = SampleFromImage(*setup.data->Read(20 * i));
    pictures.push_back(at::tensor(sample).view({1, 1, kSide, kSide}));
    seeds.push_back(7 + i);
  }
  BitsPerDimRun run(*setup.bound, at::cat(pictures), {}, NoiseOfSeeds(seeds));
  while (!run.done()) run.Advance(*setup.network);
  EXPECT_NEAR(*report.bits_per_dim, run.Result().total.mean().item<double>(), 1e-6);
  EXPECT_NEAR(*report.prior_bits_per_dim, run.Result().prior.mean().item<double>(), 1e-9);
  const double entropy =
      std::log2(kDeviation * std::sqrt(2 * std::numbers::pi * std::numbers::e) * 255 / 2);
  EXPECT_GT(*report.bits_per_dim, entropy);
  EXPECT_LT(*report.bits_per_dim, entropy + 1);
}

TEST(ModelEvaluation, TakesPicturesOfAnySize) {
  ModelEvaluation::Setup setup = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  for (int i = 0; i < 20; ++i) {
    const int width = 5 + i, channels = 1 + i % 4;
    data->pictures.push_back(
        {width, 9, channels, std::vector<uint8_t>(width * 9 * channels, 10 * i)});
  }
  setup.data = data;
  setup.features = std::make_shared<RandomConvolutionFeatures>();
  setup.options.sample_count = 12;
  const absl::StatusOr<ModelReport> report = Evaluate(std::move(setup));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->pictures, 12);
}

TEST(ModelEvaluation, ProgressNeverGoesBackAndEndsAtItsTotal) {
  ModelEvaluation::Setup setup = TheSetup();
  setup.bound = *VariationalBound::Create(TheSchedule(), {}, {999, 500, 0});
  setup.options.sample_count = 40;
  setup.options.bits_per_dim_pictures = 20;
  auto evaluation = *ModelEvaluation::Create(std::move(setup));
  int64_t done = 0;
  while (!evaluation->done()) {
    EXPECT_GE(evaluation->progress().pictures_done, done);
    done = evaluation->progress().pictures_done;
    EXPECT_EQ(evaluation->progress().pictures_total, 40 + 300 + 20);
    ASSERT_TRUE(evaluation->RunSlice().ok());
  }
  EXPECT_EQ(evaluation->progress().pictures_done, 40 + 300 + 20);
}

// If a disk hangs, generation on the device continues between slices.
TEST(ModelEvaluation, ASliceDoesNotWaitForTheDisk) {
  ModelEvaluation::Setup setup = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(50, 0.25, 1);
  std::mutex mutex;
  std::condition_variable changed;
  bool hangs = true;
  data->on_read = [&](int64_t) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !hangs; });
    return absl::OkStatus();
  };
  setup.data = data;
  setup.options.sample_count = 20;
  auto evaluation = *ModelEvaluation::Create(std::move(setup));
  for (int slice = 0; slice < 100; ++slice) ASSERT_TRUE(evaluation->RunSlice().ok());
  EXPECT_EQ(evaluation->progress().pictures_done, 20);  // the samples
  {
    const std::lock_guard lock(mutex);
    hangs = false;
  }
  changed.notify_all();
  while (!evaluation->done()) ASSERT_TRUE(evaluation->RunSlice().ok());
}

TEST(ModelEvaluation, PassesErrorsOn) {
  ModelEvaluation::Setup broken_disk = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(300, 0.25, 1);
  data->on_read = [](int64_t i) {
    return i < 100 ? absl::OkStatus() : absl::DataLossError("picture 100 has changed");
  };
  broken_disk.data = data;
  EXPECT_EQ(Evaluate(std::move(broken_disk)).status(),
            absl::DataLossError("picture 100 has changed"));

  ModelEvaluation::Setup broken_device = TheSetup();
  broken_device.network = GaussianDenoiser(
      {0.25}, [](const NetworkInput&) { throw std::runtime_error("out of memory"); });
  EXPECT_EQ(Evaluate(std::move(broken_device)).status(),
            absl::InternalError("the device failed: out of memory"));

  ModelEvaluation::Setup broken_network = TheSetup();
  broken_network.network = GaussianDenoiser({std::numeric_limits<double>::quiet_NaN()});
  EXPECT_EQ(Evaluate(std::move(broken_network)).status(),
            absl::InternalError("the network's output was not finite"));
}

TEST(ModelEvaluation, NamesEveryFieldThatIsWrong) {
  ModelEvaluation::Setup setup = TheSetup();
  setup.options = {.sample_count = 5,
                   .guidance_scale = 2,
                   .nearest_neighbours = 5,
                   .bits_per_dim_pictures = 10,
                   .batch_rows = 0,
                   .sheet_samples = 257};
  EXPECT_THAT(
      GetFieldViolations(ModelEvaluation::Create(setup).status()),
      ElementsAre(FieldViolation{"sample_count", "must be between 6 and 50000, is 5"},
                  FieldViolation{"batch_rows", "must be between 1 and 4096, is 0"},
                  FieldViolation{"sheet_samples", "must be between 1 and 256, is 257"},
                  FieldViolation{"guidance_scale", "must be 1 for a model without a null class"},
                  FieldViolation{"bits_per_dim_pictures",
                                 "must be 0 for a model without a variational bound"}));

  setup = TheSetup();
  auto data = std::make_shared<MemoryDataSet>();
  data->pictures = GaussianPictures(3, 0, 1);
  data->class_names = {"a", "b", "c"};
  data->labels = {0, 2, 1};
  setup.data = data;
  setup.network = GaussianDenoiser({0, 0});
  setup.options.nearest_neighbours = 3;
  EXPECT_THAT(GetFieldViolations(ModelEvaluation::Create(setup).status()),
              ElementsAre(FieldViolation{"dataset",
                                         "must have at least 4 pictures for 3 neighbours, has 3"},
                          FieldViolation{"dataset", "has class 2, but the model has 2 classes"}));
}

}  // namespace
}  // namespace denoise
