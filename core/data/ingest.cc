#include "core/data/ingest.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/data/class_folders.h"
#include "core/data/near_duplicates.h"
#include "core/data/picture_survey.h"
#include "core/data/stored_data_set.h"

namespace denoise {
namespace {

// Reports how far it has been read.
class MeteredSource : public ByteSource {
 public:
  using OnRead = std::function<absl::Status(size_t)>;
  MeteredSource(std::unique_ptr<ByteSource> source, OnRead on_read)
      : source_(std::move(source)), on_read_(std::move(on_read)) {}

  absl::StatusOr<size_t> Read(std::span<char> buffer) override {
    ASSIGN_OR_RETURN(const size_t size, source_->Read(buffer));
    RETURN_IF_ERROR(on_read_(size));
    return size;
  }

 private:
  const std::unique_ptr<ByteSource> source_;
  const OnRead on_read_;
};

class Ingester {
 public:
  Ingester(const UploadLimits& limits, const IngestProgressCallback& progress)
      : limits_(limits), progress_(progress), folders_(limits.max_folders, limits.max_classes) {}

  absl::Status Run(const OpenBytes& upload, UploadFormat format,
                   const std::filesystem::path& path) {
    ASSIGN_OR_RETURN(writer_, DataSetWriter::Create(path));
    const absl::Status read = ReadAll(upload, format);
    survey_.Describe(report_);
    RETURN_IF_ERROR(read);
    if (survey_.pictures() == 0) return NothingReadable();
    ASSIGN_OR_RETURN(const FolderClasses classes, folders_.Resolve());
    CountClasses(classes);
    RETURN_IF_ERROR(writer_->Finish(classes.labels, classes.names));
    RETURN_IF_ERROR(LookAtAll());
    return writer_->Commit();
  }

  DataSetReport TakeReport() && { return std::move(report_); }

 private:
  // `more_bytes` are about to be written.
  absl::Status ReportProgress(int64_t more_bytes = 0) const;
  absl::Status ReadAll(const OpenBytes& upload, UploadFormat format);
  absl::Status Take(const UploadEntry& entry);
  absl::Status TakePicture(const UploadEntry& entry, int64_t folder, const Image& image);
  void AddUnreadable(const UploadEntry& entry, int64_t folder, std::string reason);
  absl::Status NothingReadable() const;
  void CountClasses(const FolderClasses& classes);
  absl::Status LookAtAll();

  const UploadLimits limits_;
  const IngestProgressCallback& progress_;
  std::unique_ptr<DataSetWriter> writer_;
  ClassFolders folders_;
  std::vector<int64_t> pictures_by_folder_;
  PictureSurvey survey_;
  int64_t bytes_read_ = 0;
  DataSetReport report_;
};

absl::Status Ingester::ReportProgress(int64_t more_bytes) const {
  if (!progress_) return absl::OkStatus();
  return progress_({.bytes_read = bytes_read_,
                    .pictures = survey_.pictures(),
                    .unreadable_files = report_.unreadable_files,
                    .stored_bytes = writer_->bytes() + more_bytes});
}

absl::Status Ingester::ReadAll(const OpenBytes& upload, UploadFormat format) {
  const auto on_read = [this](size_t size) {
    bytes_read_ += static_cast<int64_t>(size);
    return ReportProgress();
  };
  const OpenBytes metered = [&]() -> absl::StatusOr<std::unique_ptr<ByteSource>> {
    ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, upload());
    return std::make_unique<MeteredSource>(std::move(source), on_read);
  };
  ASSIGN_OR_RETURN(const std::unique_ptr<UploadReader> reader,
                   OpenUpload(format, metered, limits_));
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<UploadEntry> entry, reader->Next());
    if (!entry) return absl::OkStatus();
    RETURN_IF_ERROR(Take(*entry));
  }
}

absl::Status Ingester::Take(const UploadEntry& entry) {
  ASSIGN_OR_RETURN(const int64_t folder, folders_.Find(entry.folder));
  if (!entry.problem.empty()) {
    AddUnreadable(entry, folder, entry.problem);
    return absl::OkStatus();
  }
  const absl::StatusOr<Image> image = DecodeImage(entry.bytes, limits_.max_pixels);
  if (image.ok()) return TakePicture(entry, folder, *image);
  if (!absl::IsInvalidArgument(image.status())) return image.status();
  AddUnreadable(entry, folder, std::string(image.status().message()));
  return absl::OkStatus();
}

absl::Status Ingester::TakePicture(const UploadEntry& entry, int64_t folder, const Image& image) {
  if (survey_.pictures() == limits_.max_pictures) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are more than ", limits_.max_pictures, " pictures"));
  }
  survey_.Add(image);
  if (survey_.total_pixels() > limits_.max_total_pixels) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pictures have more than ", limits_.max_total_pixels, " pixels in all"));
  }
  folders_.AddPicture(folder);
  pictures_by_folder_.resize(std::max(pictures_by_folder_.size(), static_cast<size_t>(folder) + 1));
  ++pictures_by_folder_[static_cast<size_t>(folder)];
  RETURN_IF_ERROR(ReportProgress(static_cast<int64_t>(entry.bytes.size())));
  return writer_->Add(folder, entry.name(), entry.bytes);
}

void Ingester::AddUnreadable(const UploadEntry& entry, int64_t folder, std::string reason) {
  folders_.AddOtherFile(folder, entry.file, reason);
  ++report_.unreadable_files;
  if (report_.unreadable_examples.size() == DataSetReport::kMaxExamples) return;
  report_.unreadable_examples.push_back({entry.name(), std::move(reason)});
}

absl::Status Ingester::NothingReadable() const {
  if (report_.unreadable_examples.empty()) {
    return absl::InvalidArgumentError("there is no picture in it");
  }
  const auto& [file, reason] = report_.unreadable_examples.front();
  if (report_.unreadable_files == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("its only file, ", Quoted(file), ", is no picture: ", reason));
  }
  return absl::InvalidArgumentError(absl::StrCat("none of its ", report_.unreadable_files,
                                                 " files is a picture; the first, ", Quoted(file),
                                                 ": ", reason));
}

void Ingester::CountClasses(const FolderClasses& classes) {
  for (const std::string& name : classes.names) report_.classes.push_back({name, 0});
  if (report_.classes.empty()) return;
  for (size_t folder = 0; folder < pictures_by_folder_.size(); ++folder) {
    const auto label = static_cast<size_t>(classes.labels[folder]);
    report_.classes[label].pictures += pictures_by_folder_[folder];
  }
}

// The part of the report that needs all pictures.
absl::Status Ingester::LookAtAll() {
  const auto check_cancelled = [this] { return ReportProgress(); };
  RETURN_IF_ERROR(check_cancelled());
  ASSIGN_OR_RETURN(const std::shared_ptr<const DataSet> data_set,
                   OpenDataSet(writer_->unfinished_path()));
  ASSIGN_OR_RETURN(const NearDuplicates similar,
                   FindNearDuplicates(survey_.difference_hashes(), DataSetReport::kMaxExamples,
                                      check_cancelled));
  report_.near_duplicates = similar.pictures;
  for (const SimilarPair& pair : similar.examples) {
    report_.near_duplicate_examples.push_back(
        {data_set->name(pair.first), data_set->name(pair.second), pair.hamming_distance});
  }
  ASSIGN_OR_RETURN(report_.contact_sheet,
                   SampleSheet(*data_set, survey_.MostFrequentSize(), check_cancelled));
  return absl::OkStatus();
}

}  // namespace

Ingestion IngestDataSet(const OpenBytes& upload, UploadFormat format,
                        const std::filesystem::path& path, const UploadLimits& limits,
                        const IngestProgressCallback& progress) {
  Ingester ingester(limits, progress);
  Ingestion ingestion;
  ingestion.status = ingester.Run(upload, format, path);
  ingestion.report = std::move(ingester).TakeReport();
  return ingestion;
}

}  // namespace denoise
