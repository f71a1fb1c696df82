// Opens the database of a state folder, whatever has become of it.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/set_aside.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// A file that is damaged or another program's is set aside, and a new one is made: data sets and
// jobs are then found again by their manifests. Errors are those of Database::Open, except
// DataLoss.
absl::StatusOr<std::unique_ptr<Database>> OpenStateDatabase(const StateDir& state,
                                                            SetAside& set_aside);

}  // namespace denoise
