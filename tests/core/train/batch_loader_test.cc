#include "core/train/batch_loader.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include <atomic>
#include <map>

namespace denoise {
namespace {

constexpr TrainingPictures::Shape kShape = {.channels = 1, .height = 4, .width = 4};

// Picture i is gray: 10 i, and one more in each column from left to right.
class FakeDataSet : public DataSet {
 public:
  explicit FakeDataSet(int64_t size) : size_(size) {}

  int64_t size() const override { return size_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t i) const override { return i % 2; }
  std::string name(int64_t i) const override { return "cats/" + std::to_string(i) + ".png"; }
  absl::StatusOr<Image> Read(int64_t i) const override {
    ++reads_;
    if (i == broken_) return absl::DataLossError("has been cut short");
    Image image{side_, side_, 1, {}};
    for (int y = 0; y < side_; ++y) {
      for (int x = 0; x < side_; ++x) image.pixels.push_back(static_cast<uint8_t>(10 * i + x));
    }
    return image;
  }

  int reads() const { return reads_; }
  void Break(int64_t i) { broken_ = i; }
  void SetSide(int side) { side_ = side; }

 private:
  const int64_t size_;
  const std::vector<std::string> classes_ = {"even", "odd"};
  int side_ = 4;
  std::atomic<int64_t> broken_ = -1;
  mutable std::atomic<int> reads_ = 0;
};

std::unique_ptr<BatchLoader> Load(std::shared_ptr<const DataSet> data_set,
                                  const BatchLoaderOptions& options) {
  auto loader = BatchLoader::Create(std::move(data_set), options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  return *std::move(loader);
}

// The values of the pixels, as they were in the picture.
at::Tensor Pixels(const at::Tensor& x0) { return ((x0 + 1) * 127.5).round(); }

std::vector<int64_t> PicturesIn(const TrainingRows& rows) {
  std::vector<int64_t> pictures;
  const at::Tensor first = Pixels(rows.x0).flatten(1).amin(1);
  for (int64_t i = 0; i < first.numel(); ++i) {
    pictures.push_back(static_cast<int64_t>(first[i].item<float>()) / 10);
  }
  return pictures;
}

// `steps` batches, in micro batches.
TrainingRows ReadSteps(BatchLoader& loader, int64_t first_step, int64_t steps, int batch,
                       int micro_batch) {
  std::vector<at::Tensor> x0, labels;
  for (int64_t step = first_step; step < first_step + steps; ++step) {
    for (int row = 0; row < batch; row += micro_batch) {
      const auto rows = loader.Rows(step, row, std::min(micro_batch, batch - row));
      EXPECT_TRUE(rows.ok()) << rows.status();
      x0.push_back(rows->x0);
      labels.push_back(rows->class_labels);
    }
  }
  return {at::cat(x0), at::cat(labels)};
}

TEST(BatchLoader, ShowsEveryPictureOncePerEpochAcrossBatches) {
  const auto data_set = std::make_shared<FakeDataSet>(10);
  const auto loader = Load(data_set, {.shape = kShape, .batch_size = 4});
  EXPECT_EQ(loader->pictures(), 10);
  const std::vector<int64_t> shown = PicturesIn(ReadSteps(*loader, 1, 5, 4, 4));
  std::vector<std::vector<int64_t>> epochs;
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    const auto begin = shown.begin() + static_cast<int64_t>(epoch) * 10;
    epochs.emplace_back(begin, begin + 10);
    EXPECT_THAT(epochs.back(), testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(BatchLoader, ABatchMayHoldManyEpochs) {
  const auto loader = Load(std::make_shared<FakeDataSet>(3), {.shape = kShape, .batch_size = 30});
  std::map<int64_t, int> counts;
  for (const int64_t picture : PicturesIn(*loader->Rows(1, 0, 30))) ++counts[picture];
  EXPECT_THAT(counts, testing::ElementsAre(std::pair(0, 10), std::pair(1, 10), std::pair(2, 10)));
}

TEST(BatchLoader, PicturesAreSamplesWithTheirLabels) {
  const auto loader = Load(std::make_shared<FakeDataSet>(5), {.shape = kShape, .batch_size = 5});
  const auto rows = loader->Rows(1, 0, 5);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_THAT(rows->x0.sizes().vec(), testing::ElementsAre(5, 1, 4, 4));
  const std::vector<int64_t> pictures = PicturesIn(*rows);
  for (int64_t i = 0; i < 5; ++i) {
    const int64_t picture = pictures[static_cast<size_t>(i)];
    EXPECT_EQ(rows->class_labels[i].item<int64_t>(), picture % 2);
    EXPECT_FLOAT_EQ(rows->x0[i][0][2][3].item<float>(),
                    static_cast<float>(10 * picture + 3) / 127.5F - 1);
  }
}

TEST(BatchLoader, RowsDoNotDependOnThreadsMicroBatchesOrTheFirstStep) {
  const auto data_set = std::make_shared<FakeDataSet>(11);
  data_set->SetSide(9);
  BatchLoaderOptions options = {.shape = kShape,
                                .batch_size = 6,
                                .augmentation = {.horizontal_flip = true, .random_crop_scale = 1.5},
                                .seed = 4};
  const TrainingRows expected = ReadSteps(*Load(data_set, options), 1, 8, 6, 6);
  for (const int threads : {1, 2, 4}) {
    for (const int micro_batch : {1, 4}) {
      options.threads = threads;
      options.prefetch_bytes = threads == 2 ? 1 : 1000;
      const auto loader = Load(data_set, options);
      const TrainingRows rows = ReadSteps(*loader, 1, 8, 6, micro_batch);
      EXPECT_TRUE(at::equal(rows.x0, expected.x0));
      EXPECT_TRUE(at::equal(rows.class_labels, expected.class_labels));
      // Again from the middle, and in a fresh loader.
      EXPECT_TRUE(at::equal(ReadSteps(*loader, 3, 2, 6, 6).x0, expected.x0.narrow(0, 12, 12)));
      EXPECT_TRUE(at::equal(ReadSteps(*Load(data_set, options), 7, 2, 6, 6).x0,
                            expected.x0.narrow(0, 36, 12)));
    }
  }
  options.seed = 5;
  EXPECT_FALSE(at::equal(ReadSteps(*Load(data_set, options), 1, 8, 6, 6).x0, expected.x0));
}

TEST(BatchLoader, ARollBackCropsAndFlipsTheSamePicturesDifferently) {
  const auto data_set = std::make_shared<FakeDataSet>(11);
  data_set->SetSide(9);
  BatchLoaderOptions options = {.shape = kShape,
                                .batch_size = 6,
                                .augmentation = {.horizontal_flip = true, .random_crop_scale = 1.5},
                                .seed = 4};
  const TrainingRows before = ReadSteps(*Load(data_set, options), 1, 8, 6, 6);
  options.rolled_back_to = 3;
  const TrainingRows after = ReadSteps(*Load(data_set, options), 1, 8, 6, 6);

  EXPECT_TRUE(at::equal(after.class_labels, before.class_labels));
  EXPECT_TRUE(at::equal(after.x0.narrow(0, 0, 18), before.x0.narrow(0, 0, 18)));
  EXPECT_FALSE(at::equal(after.x0.narrow(0, 18, 30), before.x0.narrow(0, 18, 30)));
}

TEST(BatchLoader, ReadsADataSetThatFitsInTheCacheOnce) {
  const auto data_set = std::make_shared<FakeDataSet>(10);
  const auto cached = Load(data_set, {.shape = kShape, .batch_size = 10, .cache_bytes = 160});
  ReadSteps(*cached, 1, 3, 10, 10);
  EXPECT_EQ(data_set->reads(), 10);
  const auto uncached = Load(data_set, {.shape = kShape, .batch_size = 10, .cache_bytes = 159});
  ReadSteps(*uncached, 1, 3, 10, 10);
  EXPECT_GE(data_set->reads(), 10 + 30);
}

TEST(BatchLoader, FlipsHalfOfThePictures) {
  const auto loader =
      Load(std::make_shared<FakeDataSet>(20),
           {.shape = kShape, .batch_size = 100, .augmentation = {.horizontal_flip = true}});
  int flipped = 0, straight = 0;
  for (int64_t step = 1; step <= 4; ++step) {
    const at::Tensor pixels = Pixels(loader->Rows(step, 0, 100)->x0);
    for (int64_t i = 0; i < 100; ++i) {
      const float slope = (pixels[i][0][1][3] - pixels[i][0][1][0]).item<float>();
      ASSERT_EQ(std::abs(slope), 3);
      ++(slope < 0 ? flipped : straight);
    }
  }
  EXPECT_NEAR(flipped, 200, 50);
  EXPECT_EQ(flipped + straight, 400);
}

// 8 pixels wide: windows of 4 begin in each of 5 places.
TEST(BatchLoader, CropsWindowsFromEveryPlaceInALargerPicture) {
  const auto data_set = std::make_shared<FakeDataSet>(1);
  data_set->SetSide(8);
  const auto loader = Load(
      data_set, {.shape = kShape, .batch_size = 100, .augmentation = {.random_crop_scale = 2}});
  std::map<int, int> lefts;
  const at::Tensor pixels = Pixels(loader->Rows(1, 0, 100)->x0);
  for (int64_t i = 0; i < 100; ++i) ++lefts[static_cast<int>(pixels[i][0][0][0].item<float>())];
  EXPECT_EQ(lefts.size(), 5u);
  EXPECT_EQ(lefts.begin()->first, 0);
  EXPECT_EQ(lefts.rbegin()->first, 4);
}

TEST(BatchLoader, AnUnreadablePictureIsNamedInTheErrorUntilItCanBeRead) {
  const auto data_set = std::make_shared<FakeDataSet>(10);
  const auto loader = Load(data_set, {.shape = kShape, .batch_size = 10, .threads = 2});
  data_set->Break(7);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status status = loader->Rows(1, 0, 10).status();
    EXPECT_EQ(status, absl::DataLossError("\"cats/7.png\": has been cut short"));
  }
  data_set->Break(-1);
  EXPECT_TRUE(loader->Rows(1, 0, 10).ok());
}

TEST(BatchLoader, ADataSetWithoutPicturesIsRefused) {
  EXPECT_EQ(
      BatchLoader::Create(std::make_shared<FakeDataSet>(0), {.shape = kShape}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace denoise
