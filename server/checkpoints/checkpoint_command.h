// What the commands that work on checkpoints share.
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

#include "absl/status/status.h"

namespace denoise {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsageError = 2;
inline constexpr int kInterrupted = 130;

// A command whose flags have been parsed. Returns its exit code.
using CheckpointCommand = std::function<int(std::ostream& out, std::ostream& err)>;

// For CLI11: what is wrong with a path, or nothing.
std::string CheckFolder(const std::string& path);
// The same for the folder of a new model, whose name has to be a model's.
std::string CheckModelFolder(const std::string& path);

// AlreadyExists: there is something at `folder`.
absl::Status CheckAbsent(const std::filesystem::path& folder);

}  // namespace denoise
