// Turns an upload into a stored data set and a report about it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "core/data/byte_source.h"
#include "core/data/data_set_report.h"
#include "core/data/upload_reader.h"

namespace denoise {

struct IngestProgress {
  int64_t bytes_read = 0;  // of the upload; an MNIST upload is read twice
  int64_t pictures = 0;
  int64_t unreadable_files = 0;
  int64_t stored_bytes = 0;  // size of the file, including the picture about to be written
};

// Called on the reading thread, for every 64 KiB read, before every picture is written, and
// frequently while the report is made. Returning an error ends the ingestion with that status, so
// it can be cancelled quickly and a quota can be enforced before it is exceeded.
using IngestProgressCallback = std::function<absl::Status(const IngestProgress&)>;

struct Ingestion {
  // OK: the data set is stored. InvalidArgument: the upload is refused or has no usable picture;
  // the message is for its sender. ResourceExhausted (the disk is full) and Unavailable: a retry
  // may succeed. Otherwise what the callback returned. Unless OK, nothing is left on disk.
  absl::Status status;
  // Covers what has been read.
  DataSetReport report;
};

// Reads `upload` and stores its pictures in the new file `path`, for OpenDataSet. Needs memory for
// one file of the upload and about twenty bytes per picture. `progress` may be empty.
Ingestion IngestDataSet(const OpenBytes& upload, UploadFormat format,
                        const std::filesystem::path& path, const UploadLimits& limits = {},
                        const IngestProgressCallback& progress = {});

}  // namespace denoise
