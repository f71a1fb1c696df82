#include "server/jobs/store/schema.h"

namespace denoise {
namespace {

// Times are nanoseconds since 1970. Blobs are messages of the contract, serialised.
constexpr char kVersion1[] = R"sql(
CREATE TABLE ids (
  kind TEXT NOT NULL PRIMARY KEY,
  last INTEGER NOT NULL             -- that was given out
) STRICT;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  reason TEXT NOT NULL,
  pause_requested INTEGER NOT NULL,
  pause_end INTEGER NOT NULL,
  rolled_back INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  request_id TEXT UNIQUE,           -- NULL: none
  request_hash TEXT NOT NULL,
  job BLOB NOT NULL,                -- TrainingJob: what never changes of it
  create_time INTEGER NOT NULL,
  start_time INTEGER,
  end_time INTEGER,
  steps_done INTEGER NOT NULL,
  checkpoint_step INTEGER,          -- the newest checkpoint
  last_sequence INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_turn ON jobs (state, priority DESC, id);

CREATE TABLE events (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  kind INTEGER NOT NULL,            -- number of its field in TrainingEvent
  step INTEGER,                     -- NULL: may happen more than once, or was rolled back
  event BLOB NOT NULL,              -- TrainingEvent
  PRIMARY KEY (job, sequence),
  UNIQUE (job, kind, step)
) STRICT;

CREATE TABLE data_sets (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  state INTEGER NOT NULL,
  format INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  upload_time INTEGER NOT NULL,     -- when bytes were last received
  total_bytes INTEGER NOT NULL,
  received_bytes INTEGER NOT NULL,  -- never more than are on the disk
  sha256 BLOB NOT NULL,
  report BLOB,                      -- DatasetReport
  error TEXT NOT NULL
) STRICT;

CREATE TABLE job_data_sets (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  data_set INTEGER NOT NULL REFERENCES data_sets,
  PRIMARY KEY (job, data_set)
) STRICT;
CREATE INDEX job_data_sets_by_data_set ON job_data_sets (data_set);
)sql";

// What was stored of a data set was not counted: the store measures it when it opens.
constexpr char kVersion2[] = R"sql(
ALTER TABLE data_sets ADD COLUMN
  stored_bytes INTEGER NOT NULL DEFAULT 0;  -- until it is READY: what is set aside for that
UPDATE data_sets SET stored_bytes = total_bytes WHERE state IN (1, 2);  -- UPLOADING, READING
)sql";

constexpr char kVersion3[] = R"sql(
ALTER TABLE jobs ADD COLUMN rolled_back_to INTEGER;  -- the step of the checkpoint; NULL: never was
-- Of which step was not noted: the draws of all its steps stay as they are.
UPDATE jobs SET rolled_back_to = 9223372036854775807 WHERE rolled_back = 1;
ALTER TABLE jobs DROP COLUMN rolled_back;
-- Runs begun since the last further checkpoint that have not ended in order.
ALTER TABLE jobs ADD COLUMN lost_runs INTEGER NOT NULL DEFAULT 0;
-- EvaluationResult: the newest, without its sheet. NULL: there is none since version 3.
ALTER TABLE jobs ADD COLUMN evaluation BLOB;
)sql";

constexpr char kVersion4[] = R"sql(
-- Readings of the upload that have begun and not ended in order.
ALTER TABLE data_sets ADD COLUMN lost_readings INTEGER NOT NULL DEFAULT 0;
)sql";

// Two tenants may use the same request_id. A column that is UNIQUE cannot be dropped, and keeps no
// values. Names of data sets are full ones, so those of two tenants differ.
constexpr char kVersion5[] = R"sql(
ALTER TABLE jobs ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs RENAME COLUMN request_id TO unused_request_id;
ALTER TABLE jobs ADD COLUMN request_id TEXT;  -- NULL: none
UPDATE jobs SET request_id = unused_request_id, unused_request_id = NULL;
CREATE UNIQUE INDEX jobs_by_request ON jobs (tenant, request_id);
)sql";

constexpr const char* kMigrations[] = {kVersion1, kVersion2, kVersion3, kVersion4, kVersion5};

}  // namespace

std::span<const char* const> Migrations() { return kMigrations; }

}  // namespace denoise
