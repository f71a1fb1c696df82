// Results of benchmarks: medians, and tables for people and for the documentation.
#pragma once

#include <string>
#include <vector>

namespace denoise {

// Requires at least one value.
double Median(std::vector<double> values);

using TableRow = std::vector<std::string>;

// Prints to standard output. The first row is the heading; the first column is left-aligned.
void PrintTable(const std::string& title, const std::vector<TableRow>& rows, bool markdown);

}  // namespace denoise
