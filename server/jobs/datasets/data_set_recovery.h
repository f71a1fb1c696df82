// Brings the rows of data sets and their folders together when a server starts.
#pragma once

#include "absl/status/status.h"
#include "server/jobs/store/database.h"
#include "server/jobs/store/set_aside.h"
#include "server/jobs/store/state_dir.h"

namespace denoise {

// Folders that no row knows, or that are not what the row of their id says, become rows again where
// their manifest describes them, and are set aside otherwise. Deletions that were under way are
// finished. Rows without their files FAILED. Everything of this is reported.
//
// Nothing reads or uploads meanwhile. Works on a full disk as far as that is possible.
absl::Status RecoverDataSets(Database& database, const StateDir& state, SetAside& set_aside);

}  // namespace denoise
