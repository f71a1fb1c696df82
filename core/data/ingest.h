// From an upload to a stored data set and a report of what is in it.
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
  int64_t stored_bytes = 0;  // of the file, with the picture that is written next
};

// Called for every 64 KiB that are read, before every picture that is written, and again and again
// while all of them are looked at; on the thread that reads. Anything but OK ends the ingestion with
// that status: whoever stops is heard soon, and whoever has no room for more says so in time.
using IngestProgressCallback = std::function<absl::Status(const IngestProgress&)>;

struct Ingestion {
  // OK: the data set is stored. InvalidArgument: nothing in the upload can be trained on, or it is
  // refused; the message is for whoever made it. ResourceExhausted (no room on the disk),
  // Unavailable: later it may succeed. Or what the callback has returned. Unless it is OK, nothing
  // is left on the disk.
  absl::Status status;
  // As far as it went.
  DataSetReport report;
};

// Reads `upload` and stores its pictures in the new file `path`; OpenDataSet opens it. Takes memory
// for one file of the upload, and some twenty bytes for each picture. `progress` may be empty.
Ingestion IngestDataSet(const OpenBytes& upload, UploadFormat format,
                        const std::filesystem::path& path, const UploadLimits& limits = {},
                        const IngestProgressCallback& progress = {});

}  // namespace denoise
