// How the manifest in a data set's folder and its row in the database belong together.
#pragma once

#include <optional>

#include "server/jobs/datasets/data_set_rows.h"
#include "server/jobs/store/state_manifest.h"

namespace denoise {

// The manifest of an upload that has not been read yet.
StateManifest ManifestOf(const DataSetRow& row);

// Whether they are about the same upload. A database from elsewhere uses the same ids.
bool Describes(const StateManifest& manifest, const DataSetRow& row);

// The row that the manifest describes, without its id, state and sizes on the disk. nullopt: it is
// not the manifest of a data set.
std::optional<DataSetRow> RowOf(const StateManifest& manifest);

}  // namespace denoise
