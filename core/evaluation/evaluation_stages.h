// The stages of an evaluation. Internal to core/evaluation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "core/diffusion/bits_per_dim.h"
#include "core/diffusion/sample.h"
#include "core/evaluation/copy_search.h"
#include "core/evaluation/model_evaluation.h"
#include "core/evaluation/picture_reader.h"

namespace denoise {

// What stages pass on to later ones.
struct EvaluationResults {
  at::Tensor sample_features;   // [N, D]
  at::Tensor picture_features;  // [M, D], of the pictures to compare with
  Copies copies;                // with indices in the data set
  ModelReport report;
};

// Does a slice of its work per call until it is done. Not thread-safe. Called under
// c10::InferenceMode. The setup and the results so far outlive it.
class EvaluationStage {
 public:
  virtual ~EvaluationStage() = default;
  virtual bool done() const = 0;
  virtual absl::Status RunSlice() = 0;                  // requires !done()
  virtual void Finish(EvaluationResults& results) = 0;  // once, when done()
  virtual int64_t pictures_done() const { return 0; }
};

// Makes samples, one network call per slice, clamped to [-1, 1] and rounded to 8 bits.
class SampleMaker {
 public:
  // Makes the evaluation's samples with these numbers.
  SampleMaker(const ModelEvaluation::Setup& setup, std::vector<int64_t> numbers);

  bool done() const { return run_.done(); }
  int64_t taken() const { return run_.finished(); }
  // Runs one network call. Returns samples [B, C, H, W] if it completes a batch.
  absl::StatusOr<std::optional<at::Tensor>> Advance();

 private:
  SampleRun run_;
};

// Computes the features of all samples.
class SampleStage : public EvaluationStage {
 public:
  explicit SampleStage(const ModelEvaluation::Setup& setup);
  bool done() const override { return maker_.done() && !samples_.defined(); }
  absl::Status RunSlice() override;
  void Finish(EvaluationResults& results) override;
  int64_t pictures_done() const override { return maker_.taken(); }

 private:
  const ModelEvaluation::Setup& setup_;
  SampleMaker maker_;
  at::Tensor samples_;  // to extract features of next
  std::vector<at::Tensor> features_;
};

// Reads the pictures, computes the features of those to compare with, and searches for copies.
class PictureStage : public EvaluationStage {
 public:
  PictureStage(const ModelEvaluation::Setup& setup, const EvaluationResults& results);
  bool done() const override { return reader_.done() && !searching() && piece_.empty(); }
  absl::Status RunSlice() override;
  void Finish(EvaluationResults& results) override;
  int64_t pictures_done() const override { return reader_.taken(); }

 private:
  bool searching() const { return next_tile_ < copies_.tiles(); }
  absl::Status ReadBatch();

  const ModelEvaluation::Setup& setup_;
  std::vector<int64_t> searched_;  // indices in the data set
  std::vector<int64_t> compared_;  // indices in searched_
  PictureReader reader_;
  CopySearch copies_;
  int64_t next_tile_;              // of the piece being searched
  std::vector<at::Tensor> piece_;  // features to search next
  int64_t piece_rows_ = 0;
  std::vector<at::Tensor> features_;
  size_t features_taken_ = 0;  // of compared_
};

// Computes precision, recall and the other comparisons of the two sets.
class ComparisonStage : public EvaluationStage {
 public:
  ComparisonStage(const ModelEvaluation::Setup& setup, const EvaluationResults& results)
      : setup_(setup), results_(results) {}
  bool done() const override { return comparison_ && comparison_->done(); }
  absl::Status RunSlice() override;
  void Finish(EvaluationResults& results) override;

 private:
  const ModelEvaluation::Setup& setup_;
  const EvaluationResults& results_;
  std::optional<SetComparison> comparison_;
};

// Measures bits per dimension, one network call per slice.
class BitsPerDimStage : public EvaluationStage {
 public:
  explicit BitsPerDimStage(const ModelEvaluation::Setup& setup);
  bool done() const override { return reader_.done() && !run_; }
  absl::Status RunSlice() override;
  void Finish(EvaluationResults& results) override;
  int64_t pictures_done() const override { return measured_; }

 private:
  void Begin(const at::Tensor& pictures);

  const ModelEvaluation::Setup& setup_;
  std::vector<int64_t> indices_;
  PictureReader reader_;
  std::optional<BitsPerDimRun> run_;
  int64_t measured_ = 0;
  double total_ = 0;
  double prior_ = 0;
};

// Makes the likeliest copies again and shows them beside their nearest pictures.
class SheetStage : public EvaluationStage {
 public:
  SheetStage(const ModelEvaluation::Setup& setup, const EvaluationResults& results);
  bool done() const override { return !sheet_.pixels.empty(); }
  absl::Status RunSlice() override;
  void Finish(EvaluationResults& results) override;

 private:
  SheetStage(const ModelEvaluation::Setup& setup, const Copies& copies,
             const std::vector<int64_t>& samples);

  SampleMaker maker_;
  PictureReader reader_;
  std::vector<Image> samples_;
  std::vector<Image> pictures_;
  Image sheet_;
};

}  // namespace denoise
