#include "core/evaluation/evaluation_stages.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "core/base/status_macros.h"
#include "core/evaluation/distances.h"
#include "core/evaluation/feature_extractor.h"

namespace denoise {
namespace {

// Size of the sheet's cells in pixels.
constexpr int64_t kCellMin = 64;
constexpr int64_t kCellMax = 256;
constexpr int kSheetColumns = 8;
constexpr int kSheetPadding = 2;

int64_t SpreadPlace(int64_t i, int64_t count, int64_t size) { return i * size / count; }

// Like SampleFromImage(ImageFromSample(x)).
at::Tensor InEightBits(const at::Tensor& x) {
  return ((x / 2 + 0.5).clamp(0, 1) * 255).round() / 127.5 - 1;
}

std::vector<int64_t> Numbers(int64_t count) {
  std::vector<int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// `count` indices in [0, size), evenly spread and ascending; all of them if there are no more.
std::vector<int64_t> SpreadEvenly(int64_t count, int64_t size) {
  std::vector<int64_t> places = Numbers(std::min(count, size));
  for (int64_t& place : places) {
    place = SpreadPlace(place, static_cast<int64_t>(places.size()), size);
  }
  return places;
}

PictureShape ShapeOf(const ModelEvaluation::Setup& setup) {
  const SampleShape& shape = setup.network->spec().sample;
  return {shape.channels, shape.height, shape.width};
}

// The class that a class-conditional network gets for `picture`, the i-th.
int64_t ClassOf(const ModelEvaluation::Setup& setup, int64_t picture, int64_t i) {
  if (!setup.data->classes().empty()) return setup.data->label(picture);
  return setup.null_class_label.value_or(i % setup.network->spec().num_class_embeds);
}

// The conditioning of sample i.
Conditioning ConditioningOf(const ModelEvaluation::Setup& setup, int64_t i) {
  Conditioning conditioning;
  if (setup.null_class_label) {
    conditioning.unconditional = ClassCondition(*setup.null_class_label);
  }
  conditioning.guidance.scale = setup.options.guidance_scale;
  if (setup.network->spec().num_class_embeds > 0) {
    const int64_t picture = SpreadPlace(i, setup.options.sample_count, setup.data->size());
    conditioning.conditions = {{ClassCondition(ClassOf(setup, picture, i))}};
  }
  return conditioning;
}

std::vector<int64_t> Searched(const ModelEvaluation::Setup& setup) {
  return SpreadEvenly(kMaxPicturesSearched, setup.data->size());
}

// The samples with the smallest ratios.
std::vector<int64_t> LikeliestCopies(const Copies& copies, int64_t count) {
  std::vector<int64_t> samples = Numbers(static_cast<int64_t>(copies.ratios.size()));
  std::stable_sort(samples.begin(), samples.end(),
                   [&](int64_t a, int64_t b) { return copies.ratios[a] < copies.ratios[b]; });
  samples.resize(std::min<size_t>(samples.size(), count));
  return samples;
}

std::vector<int64_t> NearestOf(const Copies& copies, const std::vector<int64_t>& samples) {
  std::vector<int64_t> nearest;
  for (int64_t sample : samples) nearest.push_back(copies.nearest[sample]);
  return nearest;
}

void AppendImages(const at::Tensor& pictures, std::vector<Image>& images) {
  const at::Tensor cells = ShrinkPictures(pictures, kCellMax).cpu().contiguous();
  for (int64_t i = 0; i < cells.size(0); ++i) {
    const std::span<const float> sample(cells[i].data_ptr<float>(), cells[i].numel());
    images.push_back(ImageFromSample(sample, static_cast<int>(cells.size(1)),
                                     static_cast<int>(cells.size(2)),
                                     static_cast<int>(cells.size(3))));
  }
}

}  // namespace

SampleMaker::SampleMaker(const ModelEvaluation::Setup& setup, std::vector<int64_t> numbers)
    : run_(*setup.network, setup.runtime, setup.plan, static_cast<int64_t>(numbers.size()),
           setup.options.batch_rows, [&setup, numbers](int64_t i) {
             return SampleRequest{.seed = setup.options.seed + static_cast<uint64_t>(numbers[i]),
                                  .conditioning = ConditioningOf(setup, numbers[i])};
           }) {}

absl::StatusOr<std::optional<at::Tensor>> SampleMaker::Advance() {
  const at::Tensor samples = run_.Advance();
  if (!samples.defined()) return std::nullopt;
  if (!at::isfinite(samples).all().item<bool>()) {
    return absl::InternalError("the network's output was not finite");
  }
  return InEightBits(samples);
}

SampleStage::SampleStage(const ModelEvaluation::Setup& setup)
    : setup_(setup), maker_(setup, Numbers(setup.options.sample_count)) {}

absl::Status SampleStage::RunSlice() {
  if (samples_.defined()) {
    features_.push_back(setup_.features->Extract(samples_));
    samples_ = at::Tensor();
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::optional<at::Tensor> samples, maker_.Advance());
  if (samples) samples_ = *std::move(samples);
  return absl::OkStatus();
}

void SampleStage::Finish(EvaluationResults& results) {
  results.sample_features = at::cat(features_);
  results.report.samples = results.sample_features.size(0);
}

PictureStage::PictureStage(const ModelEvaluation::Setup& setup, const EvaluationResults& results)
    : setup_(setup),
      searched_(Searched(setup)),
      compared_(SpreadEvenly(setup.options.sample_count, static_cast<int64_t>(searched_.size()))),
      reader_(setup.data, searched_, ShapeOf(setup), setup.options.batch_rows),
      copies_(results.sample_features),
      next_tile_(copies_.tiles()) {}

absl::Status PictureStage::RunSlice() {
  if (searching()) {
    copies_.AddToTile(next_tile_++);
    return absl::OkStatus();
  }
  if (piece_rows_ < kTileRows && !reader_.done()) return ReadBatch();
  copies_.BeginPiece(at::cat(piece_));
  piece_.clear();
  piece_rows_ = 0;
  next_tile_ = 0;
  return absl::OkStatus();
}

absl::Status PictureStage::ReadBatch() {
  const int64_t first = reader_.taken();
  ASSIGN_OR_RETURN(const std::optional<at::Tensor> pictures, reader_.Next());
  if (!pictures) return absl::OkStatus();
  const at::Tensor features = setup_.features->Extract(pictures->to(setup_.network->device()));
  piece_.push_back(features);
  piece_rows_ += features.size(0);
  while (features_taken_ < compared_.size() && compared_[features_taken_] < reader_.taken()) {
    features_.push_back(features.narrow(0, compared_[features_taken_++] - first, 1));
  }
  return absl::OkStatus();
}

void PictureStage::Finish(EvaluationResults& results) {
  results.picture_features = at::cat(features_);
  results.copies = copies_.result();
  for (int64_t& nearest : results.copies.nearest) nearest = searched_[nearest];
  results.report.memorisation_rate = results.copies.memorisation_rate;
  results.report.pictures = results.picture_features.size(0);
  results.report.pictures_searched = reader_.size();
}

absl::Status ComparisonStage::RunSlice() {
  if (comparison_) {
    comparison_->RunSlice();
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(SetComparison comparison,
                   SetComparison::Create(results_.sample_features, results_.picture_features,
                                         setup_.options.nearest_neighbours));
  comparison_.emplace(std::move(comparison));
  return absl::OkStatus();
}

void ComparisonStage::Finish(EvaluationResults& results) {
  results.report.metrics = comparison_->result();
}

BitsPerDimStage::BitsPerDimStage(const ModelEvaluation::Setup& setup)
    : setup_(setup),
      indices_(SpreadEvenly(setup.options.bits_per_dim_pictures, setup.data->size())),
      reader_(setup.data, indices_, ShapeOf(setup), setup.options.batch_rows) {}

absl::Status BitsPerDimStage::RunSlice() {
  if (!run_) {
    ASSIGN_OR_RETURN(const std::optional<at::Tensor> pictures, reader_.Next());
    if (pictures) Begin(*pictures);
    return absl::OkStatus();
  }
  run_->Advance(*setup_.network);
  if (!run_->done()) return absl::OkStatus();
  const BitsPerDim bits = run_->Result();
  total_ += bits.total.sum().item<double>();
  prior_ += bits.prior.sum().item<double>();
  measured_ += bits.total.size(0);
  run_.reset();
  return absl::OkStatus();
}

// Picture i draws its noise from seed + i, like sample i.
void BitsPerDimStage::Begin(const at::Tensor& pictures) {
  const at::Device device = setup_.network->device();
  const bool has_classes = setup_.network->spec().num_class_embeds > 0;
  std::vector<uint64_t> seeds;
  std::vector<int64_t> classes;
  for (int64_t i = measured_; i < measured_ + pictures.size(0); ++i) {
    seeds.push_back(setup_.options.seed + static_cast<uint64_t>(i));
    if (has_classes) classes.push_back(ClassOf(setup_, indices_[i], i));
  }
  run_.emplace(*setup_.bound, pictures.to(device),
               has_classes ? at::tensor(classes).to(device) : at::Tensor(), NoiseOfSeeds(seeds));
}

void BitsPerDimStage::Finish(EvaluationResults& results) {
  results.report.bits_per_dim = total_ / static_cast<double>(measured_);
  results.report.prior_bits_per_dim = prior_ / static_cast<double>(measured_);
}

SheetStage::SheetStage(const ModelEvaluation::Setup& setup, const EvaluationResults& results)
    : SheetStage(setup, results.copies,
                 LikeliestCopies(results.copies, setup.options.sheet_samples)) {}

SheetStage::SheetStage(const ModelEvaluation::Setup& setup, const Copies& copies,
                       const std::vector<int64_t>& samples)
    : maker_(setup, samples),
      reader_(setup.data, NearestOf(copies, samples), ShapeOf(setup), setup.options.batch_rows) {}

absl::Status SheetStage::RunSlice() {
  if (!maker_.done()) {
    ASSIGN_OR_RETURN(const std::optional<at::Tensor> samples, maker_.Advance());
    if (samples) AppendImages(*samples, samples_);
    return absl::OkStatus();
  }
  if (!reader_.done()) {
    ASSIGN_OR_RETURN(const std::optional<at::Tensor> pictures, reader_.Next());
    if (pictures) AppendImages(*pictures, pictures_);
    return absl::OkStatus();
  }
  std::vector<Image> cells;
  for (size_t i = 0; i < samples_.size(); ++i) {
    cells.push_back(std::move(samples_[i]));
    cells.push_back(std::move(pictures_[i]));
  }
  const int64_t side = std::max(cells.front().width, cells.front().height);
  const int scale = static_cast<int>((kCellMin + side - 1) / side);
  ASSIGN_OR_RETURN(sheet_, ContactSheet(cells, kSheetColumns, kSheetPadding, scale));
  return absl::OkStatus();
}

void SheetStage::Finish(EvaluationResults& results) {
  results.report.nearest_neighbours_sheet = std::move(sheet_);
}

}  // namespace denoise
