// What benchmarks show: medians, in tables for people and for the documentation.
#pragma once

#include <string>
#include <vector>

namespace denoise {

// Of at least one value.
double Median(std::vector<double> values);

using TableRow = std::vector<std::string>;

// To standard output; the first row is the heading, the first column is aligned left.
void PrintTable(const std::string& title, const std::vector<TableRow>& rows, bool markdown);

}  // namespace denoise
