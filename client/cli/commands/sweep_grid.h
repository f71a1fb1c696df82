// What `denoise sweep` makes: a request for every cell of a grid.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/flags/generate_flags.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// A flag of `generate` and the values that it takes along one side of the grid.
struct SweepAxis {
  std::string flag;  // without dashes, "steps"; empty: an axis of one cell that changes nothing
  std::vector<std::string> values;

  std::string Label(size_t index) const;  // "steps 8", or nothing
};

// From "steps=4,8,16"; "guidance" and "class" are short for "guidance-scale" and "class-label".
// Nothing makes an axis of one cell. InvalidArgument names `field`: no name, no value, too many.
absl::StatusOr<SweepAxis> ParseSweepAxis(const std::string& field, const std::string& text);

struct SweepCell {
  std::string label;  // "steps 8, guidance-scale 2"
  denoised::v1::GenerateRequest request;
  GivenFlags given;  // those that the request was built from
};

// A cell for each value of `rows` with each of `columns`, row by row, over `base`. InvalidArgument
// says which cell and what `generate` would say of its flags.
absl::StatusOr<std::vector<SweepCell>> SweepCells(const GenerateFlags& base, const SweepAxis& rows,
                                                  const SweepAxis& columns,
                                                  const denoised::v1::Model& model);

}  // namespace denoise
