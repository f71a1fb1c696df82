#include "server/jobs/datasets/ingest.h"

#include <string>
#include <utility>

#include "core/data/data_set_report.h"
#include "core/data/ingest.h"
#include "core/image/image.h"

namespace denoise {
namespace {

constexpr int64_t kMaxSheetPixels = int64_t{1} << 28;

UploadFormat FormatOf(denoised::v1::DatasetFormat format) {
  switch (format) {
    case denoised::v1::DATASET_FORMAT_CIFAR10:
      return UploadFormat::kCifar10;
    case denoised::v1::DATASET_FORMAT_MNIST:
      return UploadFormat::kMnist;
    default:
      return UploadFormat::kTar;
  }
}

void AddSheet(const std::string& png, denoised::v1::DatasetReport& report) {
  const auto decoded = DecodeImage(png, kMaxSheetPixels);
  if (!decoded.ok()) return;  // there are no pictures
  denoised::v1::Image& sheet = *report.mutable_contact_sheet();
  sheet.set_data(png);
  sheet.set_encoding(denoised::v1::ENCODING_PNG);
  sheet.set_channels(decoded->channels);
  sheet.set_height(decoded->height);
  sheet.set_width(decoded->width);
}

denoised::v1::DatasetReport ReportToProto(const DataSetReport& report) {
  denoised::v1::DatasetReport message;
  message.set_pictures(report.pictures);
  for (const auto& from : report.classes) {
    auto& to = *message.add_classes();
    to.set_display_name(from.name);
    to.set_pictures(from.pictures);
  }
  for (const auto& from : report.sizes) {
    auto& to = *message.add_sizes();
    to.set_width(from.width);
    to.set_height(from.height);
    to.set_pictures(from.pictures);
  }
  message.set_distinct_sizes(static_cast<int32_t>(report.distinct_sizes));
  for (const auto& [channels, pictures] : report.pictures_by_channels) {
    (*message.mutable_pictures_by_channels())[channels] = pictures;
  }
  for (const auto& from : report.channel_statistics) {
    auto& to = *message.add_channel_statistics();
    to.set_mean(from.mean);
    to.set_standard_deviation(from.standard_deviation);
  }
  message.set_near_duplicates(report.near_duplicates);
  for (const auto& from : report.near_duplicate_examples) {
    auto& to = *message.add_near_duplicate_examples();
    to.set_file(from.file);
    to.set_other_file(from.other_file);
    to.set_hamming_distance(from.hamming_distance);
  }
  message.set_unreadable_files(report.unreadable_files);
  for (const auto& from : report.unreadable_examples) {
    auto& to = *message.add_unreadable_examples();
    to.set_file(from.file);
    to.set_reason(from.reason);
  }
  message.set_class_imbalance(report.ClassImbalance());
  AddSheet(report.contact_sheet, message);
  return message;
}

}  // namespace

IngestFunction IngestUploadsWith(int64_t max_picture_pixels) {
  UploadLimits limits;
  limits.max_pixels = max_picture_pixels;
  return [limits](denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
                  const std::filesystem::path& stored,
                  const IngestProgressFunction& progress) -> IngestResult {
    Ingestion ingestion =
        IngestDataSet([&] { return OpenFileSource(upload); }, FormatOf(format), stored, limits,
                      [&](const IngestProgress& so_far) { return progress(so_far.stored_bytes); });
    return {std::move(ingestion.status), ReportToProto(ingestion.report)};
  };
}

IngestResult IngestUpload(denoised::v1::DatasetFormat format, const std::filesystem::path& upload,
                          const std::filesystem::path& stored,
                          const IngestProgressFunction& progress) {
  return IngestUploadsWith(UploadLimits().max_pixels)(format, upload, stored, progress);
}

}  // namespace denoise
