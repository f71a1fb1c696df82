#include "client/cli/sweep_grid.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/generate_request.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kMostValues = 64;

std::string FullName(const std::string& name) {
  if (name == "guidance") return "guidance-scale";
  if (name == "class") return "class-label";
  return name;
}

// As if `generate` had been given --flag=value after all others.
absl::Status SetFlag(const std::string& flag, const std::string& value, GenerateFlags& flags) {
  CLI::App app;
  app.set_help_flag();
  AddPictureFlags(app, flags);
  try {
    app.parse(std::vector<std::string>{absl::StrCat("--", flag, "=", value)});
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(error.what());
  }
  return absl::OkStatus();
}

absl::Status SetAxis(const std::string& field, const SweepAxis& axis, size_t index,
                     GenerateFlags& flags) {
  if (axis.flag.empty()) return absl::OkStatus();
  const absl::Status status = SetFlag(axis.flag, axis.values[index], flags);
  return status.ok() ? status : InvalidField(field, std::string(status.message()));
}

std::string CellLabel(const std::string& row, const std::string& column) {
  return absl::StrCat(row, row.empty() || column.empty() ? "" : ", ", column);
}

}  // namespace

std::string SweepAxis::Label(size_t index) const {
  return flag.empty() ? "" : absl::StrCat(flag, " ", values[index]);
}

absl::StatusOr<SweepAxis> ParseSweepAxis(const std::string& field, const std::string& text) {
  if (text.empty()) return SweepAxis{"", {""}};
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  SweepAxis axis{FullName(parts.first), absl::StrSplit(parts.second, ',', absl::SkipEmpty())};
  if (axis.flag.empty() || axis.values.empty()) {
    return InvalidField(
        field, absl::StrCat("must be a flag and its values, such as ", "steps=4,8,16; is ", text));
  }
  if (axis.values.size() > kMostValues) {
    return InvalidField(
        field, absl::StrCat("takes at most ", kMostValues, " values, not ", axis.values.size()));
  }
  return axis;
}

absl::StatusOr<std::vector<SweepCell>> SweepCells(const GenerateFlags& base, const SweepAxis& rows,
                                                  const SweepAxis& columns,
                                                  const denoised::v1::Model& model) {
  if (!rows.flag.empty() && rows.flag == columns.flag) {
    return InvalidField("--columns", "must be another flag than that of --rows");
  }
  std::vector<SweepCell> cells;
  for (size_t row = 0; row < rows.values.size(); ++row) {
    for (size_t column = 0; column < columns.values.size(); ++column) {
      GenerateFlags flags = base;
      RETURN_IF_ERROR(SetAxis("--rows", rows, row, flags));
      RETURN_IF_ERROR(SetAxis("--columns", columns, column, flags));
      SweepCell& cell = cells.emplace_back();
      cell.label = CellLabel(rows.Label(row), columns.Label(column));
      ASSIGN_OR_RETURN(cell.request, BuildGenerateRequest(flags, model));
    }
  }
  return cells;
}

}  // namespace denoise
