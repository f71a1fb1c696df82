#include "client/cli/commands/sweep_grid.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/command_line/usage_error.h"

namespace denoise {
namespace {

constexpr size_t kMostValues = 64;
constexpr char kScale[] = "guidance-scale";

std::string FullName(const std::string& name) {
  if (name == "guidance") return kScale;
  if (name == "class") return "class-label";
  return name;
}

// Parses the flags of both axes as if they came after all others.
absl::Status SetFlags(const SweepAxis& rows, size_t row, const SweepAxis& columns, size_t column,
                      GenerateFlags& flags) {
  CLI::App app;
  app.set_help_flag();
  AddSweepAxisFlags(app, flags);
  std::vector<std::string> arguments;
  const auto add = [&](const SweepAxis& axis, size_t index) {
    if (!axis.flag.empty()) {
      arguments.push_back(absl::StrCat("--", axis.flag, "=", axis.values[index]));
    }
  };
  add(columns, column);  // CLI11 takes arguments from the back
  add(rows, row);
  if (const auto scale = flags.given.find("guidance.scale");
      scale != flags.given.end() && rows.flag != kScale && columns.flag != kScale) {
    arguments.push_back(absl::StrCat("--", kScale, "=", scale->second[0]));  // others need it
  }
  std::optional<UsageError> error = CheckCommandLine(app, arguments);
  try {
    if (!error) app.parse(arguments);
  } catch (const CLI::ParseError& parse_error) {
    error = ToUsageError(app, parse_error);
  }
  if (!error) return absl::OkStatus();
  const bool column_is_wrong =
      rows.flag.empty() ||
      (!columns.flag.empty() && absl::StrContains(error->message, "--" + columns.flag));
  return InvalidField(column_is_wrong ? "--columns" : "--rows", error->message);
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
  SweepAxis axis{FullName(parts.first), absl::StrSplit(parts.second, ',')};
  const bool lacks_a_value = std::count(axis.values.begin(), axis.values.end(), "") > 0;
  if (axis.flag.empty() || lacks_a_value) {
    return InvalidField(
        field, absl::StrCat("must be a flag and its values, such as steps=4,8,16; is ", text));
  }
  if (axis.flag == "class-weights") {
    return InvalidField(field,
                        "cannot be class-weights, whose values contain commas. Use class-label");
  }
  if (axis.values.size() > kMostValues) {
    return InvalidField(
        field, absl::StrCat("takes at most ", kMostValues, " values; has ", axis.values.size()));
  }
  return axis;
}

absl::StatusOr<std::vector<SweepCell>> SweepCells(const GenerateFlags& base, const SweepAxis& rows,
                                                  const SweepAxis& columns,
                                                  const denoised::v1::Model& model) {
  if (!rows.flag.empty() && rows.flag == columns.flag) {
    return InvalidField("--columns",
                        absl::StrCat("must be another flag than --rows; both are ", rows.flag));
  }
  std::vector<SweepCell> cells;
  for (size_t row = 0; row < rows.values.size(); ++row) {
    for (size_t column = 0; column < columns.values.size(); ++column) {
      GenerateFlags flags = base;
      RETURN_IF_ERROR(SetFlags(rows, row, columns, column, flags));
      SweepCell& cell = cells.emplace_back();
      cell.label = CellLabel(rows.Label(row), columns.Label(column));
      ASSIGN_OR_RETURN(cell.request, BuildGenerateRequest(SweepTable(), flags, model));
      cell.given = std::move(flags.given);
    }
  }
  return cells;
}

}  // namespace denoise
