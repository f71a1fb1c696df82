// The grid of `denoise sweep`: a request for every cell.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/flags/generate_flags.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// A flag of `generate` and its values along one side of the grid.
struct SweepAxis {
  std::string flag;  // "steps", without dashes; empty: one cell that changes nothing
  std::vector<std::string> values;

  std::string Label(size_t index) const;  // "steps 8"; empty without a flag
};

// Parses "steps=4,8,16"; "guidance" and "class" are short for "guidance-scale" and "class-label".
// An empty text gives an axis of one cell. InvalidArgument names `field`: no flag, no value, too
// many values.
absl::StatusOr<SweepAxis> ParseSweepAxis(const std::string& field, const std::string& text);

struct SweepCell {
  std::string label;  // "steps 8, guidance-scale 2"
  denoised::v1::GenerateRequest request;
  GivenFlags given;  // those that the request was built from
};

// A cell for each value of `rows` with each of `columns`, row by row, on top of `base`.
// InvalidArgument names the side and says what `generate` would say of its flag.
absl::StatusOr<std::vector<SweepCell>> SweepCells(const GenerateFlags& base, const SweepAxis& rows,
                                                  const SweepAxis& columns,
                                                  const denoised::v1::Model& model);

}  // namespace denoise
