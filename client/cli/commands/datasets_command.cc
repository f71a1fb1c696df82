#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/error_report.h"
#include "client/cli/commands/interrupts.h"
#include "client/cli/commands/output_folder.h"
#include "client/cli/commands/upload_source.h"
#include "client/cli/display/received_image.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/terminal.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/message_flags.h"
#include "client/training_client.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/resource_id.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kExamples[] = R"(  denoise datasets upload pictures/
  denoise datasets upload animals.tar.gz --name animals
  denoise datasets list
  denoise datasets report pictures --out report
)";
constexpr char kUploadExamples[] =
    R"(  denoise datasets upload pictures/     # each sub-folder is a class
  denoise datasets upload animals.tar.gz --name animals
  denoise datasets upload animals.zip
  denoise datasets upload data_batch_1.bin --format cifar10 --name cifar

An upload that was interrupted continues where it stopped if you run the same
command again within a day.
)";
constexpr char kListExamples[] = R"(  denoise datasets list
  denoise datasets list --json | jq -r .name
)";
constexpr char kReportExamples[] = R"(  denoise datasets report pictures
  denoise datasets report pictures --out report
)";

// The flags of the first message of an upload.
const FlagTable& UploadTable() {
  static const auto* const table = new FlagTable{
      {"--name", "header.name",
       "The name of the data set. Default: that of the file or folder, without endings"},
      {"--format",
       "header.format",
       "tar: a tar or zip file or a folder; cifar10: records of a label byte and 3072 pixel bytes; "
       "mnist: "
       "an IDX file of pictures followed by one of labels",
       "Options",
       {.preset = "tar"}}};
  return *table;
}

struct UploadFlags {
  ConnectionFlags connection;
  std::string path;
  v1::UploadDatasetRequest request;
  bool json = false;
};

absl::Status CheckFormat(const UploadFlags& flags) {
  const v1::DatasetFormat format = flags.request.header().format();
  const bool is_tar = format == v1::DATASET_FORMAT_UNSPECIFIED || format == v1::DATASET_FORMAT_TAR;
  if (is_tar || !std::filesystem::is_directory(flags.path)) return absl::OkStatus();
  return InvalidField("header.format",
                      absl::StrCat("must be tar for a folder, which ", flags.path, " is"));
}

// The full name of the new data set. The server refuses a bad one, too, but hears of it only once
// all bytes have been hashed.
absl::StatusOr<std::string> ChooseName(const UploadFlags& flags) {
  constexpr char kRule[] = "up to 128 letters, digits and ._-, beginning with a letter or digit";
  const std::string& given = flags.request.header().name();
  const std::string name = DatasetResourceName(given.empty() ? DataSetNameOf(flags.path) : given);
  const std::string id = ShortDatasetName(name);
  if (IsValidResourceId(id)) return name;
  return InvalidField("header.name",
                      given.empty()
                          ? absl::StrCat("\"", id,
                                         "\", from the path, cannot be the name of a data set; "
                                         "give one with --name: ",
                                         kRule)
                          : absl::StrCat("must be ", kRule, "; is \"", id, "\""));
}

// The progress line of an upload.
class UploadDisplay {
 public:
  explicit UploadDisplay(bool shown) : screen_(shown, nullptr) {}

  void Show(const char* head, int64_t done, int64_t total) {
    if (!screen_.shown()) return;
    const std::string tail = absl::StrCat("  ", BytesText(done), " of ", BytesText(total));
    const double fraction = static_cast<double>(done) / static_cast<double>(total);
    screen_.Draw(nullptr, {}, LineWithBar(head, fraction, tail, screen_.size().columns - 1));
  }

 private:
  LiveScreen screen_;
};

// Reads all of `source` once, as the server is told the size and the hash before the first byte.
absl::Status Describe(SizedSource& source, const Interrupts& interrupts, UploadDisplay& display,
                      v1::UploadHeader& header) {
  Sha256 hash;
  int64_t total = 0;
  RETURN_IF_ERROR(source.Seek(0));
  while (true) {
    ASSIGN_OR_RETURN(const std::string bytes, source.Read(size_t{1} << 20));
    if (interrupts.interrupted()) return absl::CancelledError("interrupted");
    if (bytes.empty()) break;
    hash.Update(bytes);
    total += static_cast<int64_t>(bytes.size());
    display.Show("hashing   ", total, source.size());
  }
  header.set_total_bytes(total);
  header.set_sha256(absl::HexStringToBytes(hash.Finish()));
  return absl::OkStatus();
}

// The name is looked up before anything is hashed, which can take minutes.
absl::Status CheckNameIsFree(TrainingClient& client, const std::string& name) {
  const absl::StatusOr<v1::Dataset> dataset = client.GetDataset(name);
  if (absl::IsNotFound(dataset.status())) return absl::OkStatus();
  RETURN_IF_ERROR(dataset.status());
  if (dataset->state() != v1::Dataset::READY) return absl::OkStatus();
  const std::string id = ShortDatasetName(name);
  return absl::AlreadyExistsError(absl::StrCat("there is already a data set ", id,
                                               ", and it is ready; delete it first (`denoise "
                                               "datasets delete ",
                                               id, "`), or give another name with --name"));
}

// How many bytes of this upload the server already has. One that it reads, or began to read before
// it was stopped, has all of them; the upload then only waits for the result.
absl::StatusOr<int64_t> ReceivedBefore(TrainingClient& client, const v1::UploadHeader& header) {
  const absl::StatusOr<v1::Dataset> dataset = client.GetDataset(header.name());
  if (absl::IsNotFound(dataset.status())) return 0;
  RETURN_IF_ERROR(dataset.status());
  const bool continues =
      dataset->state() == v1::Dataset::UPLOADING || dataset->state() == v1::Dataset::READING;
  return continues ? dataset->received_bytes() : 0;
}

// Sends what the server lacks, and waits until it has read it all.
absl::StatusOr<v1::Dataset> Send(TrainingClient& client, const v1::UploadHeader& header,
                                 UploadSource& source, Interrupts& interrupts,
                                 UploadDisplay& display) {
  const auto show = [&](int64_t sent) {
    const bool is_sent = sent == header.total_bytes();
    display.Show(is_sent ? "reading   " : "uploading ", sent, header.total_bytes());
  };
  show(header.offset());
  UploadCancellation cancellation;
  interrupts.SetHandler([&cancellation] { cancellation.Cancel(); });
  if (interrupts.interrupted()) cancellation.Cancel();
  absl::StatusOr<v1::Dataset> dataset = client.Upload(header, source, show, &cancellation);
  interrupts.SetHandler([] {});
  if (!absl::IsCancelled(dataset.status()) || !interrupts.interrupted()) return dataset;
  return absl::CancelledError(
      "interrupted. The server keeps what it has received for a day; run the same command again "
      "to continue.");
}

absl::StatusOr<v1::Dataset> Upload(const UploadFlags& flags, Interrupts& interrupts) {
  RETURN_IF_ERROR(CheckFormat(flags));
  v1::UploadHeader header = flags.request.header();
  ASSIGN_OR_RETURN(*header.mutable_name(), ChooseName(flags));
  if (header.format() == v1::DATASET_FORMAT_UNSPECIFIED) header.set_format(v1::DATASET_FORMAT_TAR);
  ASSIGN_OR_RETURN(const std::unique_ptr<SizedSource> source, OpenUploadSource(flags.path));
  ASSIGN_OR_RETURN(TrainingClient client, MakeTrainingClient(flags.connection));
  RETURN_IF_ERROR(CheckNameIsFree(client, header.name()));
  UploadDisplay display(isatty(STDERR_FILENO) && !flags.json);
  interrupts.SetHandler([] {});  // Describe checks between pieces
  RETURN_IF_ERROR(Describe(*source, interrupts, display, header));
  ASSIGN_OR_RETURN(const int64_t received, ReceivedBefore(client, header));
  header.set_offset(received);
  return Send(client, header, *source, interrupts, display);
}

ExitCode RunUpload(const UploadFlags& flags) {
  Interrupts interrupts;
  const absl::StatusOr<v1::Dataset> dataset = Upload(flags, interrupts);
  if (!dataset.ok()) {
    const ExitCode code = ReportError(dataset.status(), flags.json, UploadTable());
    const bool is_interrupted = interrupts.interrupted() && absl::IsCancelled(dataset.status());
    return is_interrupted ? kExitInterrupted : code;
  }
  std::puts((flags.json ? ResourceJson(*dataset) : DatasetDetails(*dataset)).c_str());
  return kExitOk;
}

// For CLI11: what is wrong with the path, or nothing.
std::string CheckPath(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? "" : "there is no file or folder " + path;
}

Command AddUpload(CLI::App& app) {
  const auto flags = std::make_shared<UploadFlags>();
  app.add_option("path", flags->path,
                 "A folder of PNG, JPEG and WebP files with a sub-folder for each class, a tar or "
                 "zip file of such a folder, or a file in the format of --format")
      ->required()
      ->check(CLI::Validator(CheckPath, ""))
      ->type_name("PATH");
  AddMessageFlags(app, flags->request, UploadTable());
  app.add_flag("--json", flags->json, "Print the data set as JSON and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] { return RunUpload(*flags); };
}

Command AddList(CLI::App& app) {
  struct Flags {
    ConnectionFlags connection;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  app.add_flag("--json", flags->json, "Print one line of JSON per data set and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const auto datasets = client->ListDatasets();
    if (!datasets.ok()) return ReportError(datasets.status(), flags->json);
    if (!flags->json) {
      std::puts(datasets->empty() ? "No data sets. Upload one with `denoise datasets upload`."
                                  : DatasetTable(*datasets).c_str());
      return kExitOk;
    }
    for (const v1::Dataset& dataset : *datasets) std::puts(ResourceJson(dataset).c_str());
    return kExitOk;
  };
}

// Of GetDataset and DeleteDataset alike.
const FlagTable& NameTable() {
  static const auto* const table =
      new FlagTable{{"name",
                     "name",
                     "The data set, as `denoise datasets list` prints it",
                     "Options",
                     {.value = "NAME", .required = true}}};
  return *table;
}

struct ReportFlags {
  ConnectionFlags connection;
  v1::GetDatasetRequest request;
  std::string out;
  bool overwrite = false;
  bool json = false;
};

ExitCode ReportNameError(const absl::Status& status, const ReportFlags& flags) {
  return ReportError(AboutName(status, {.field = "name",
                                        .kind = "data set",
                                        .text = flags.request.name(),
                                        .list = "denoise datasets list"}),
                     flags.json, NameTable());
}

absl::Status WriteContactSheet(const v1::Dataset& dataset, OutputFolder folder) {
  ASSIGN_OR_RETURN(const ReceivedImage sheet, ReceiveImage(dataset.report().contact_sheet()));
  return folder.Write("contact-sheet." + sheet.extension, sheet.file_bytes).status();
}

absl::StatusOr<std::optional<OutputFolder>> OpenFolder(const ReportFlags& flags) {
  if (flags.out.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(OutputFolder folder,
                   OutputFolder::Open(flags.out, {.name = DatasetResourceName(flags.request.name()),
                                                  .overwrite = flags.overwrite,
                                                  .files = {"contact-sheet.png"}}));
  return folder;
}

ExitCode RunReport(const ReportFlags& flags) {
  absl::StatusOr<std::optional<OutputFolder>> folder = OpenFolder(flags);
  if (!folder.ok()) return ReportError(folder.status(), flags.json);
  absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags.connection);
  if (!client.ok()) return ReportError(client.status(), flags.json);
  const absl::StatusOr<v1::Dataset> dataset = client->GetDataset(flags.request.name());
  if (!dataset.ok()) return ReportNameError(dataset.status(), flags);
  std::puts((flags.json ? ResourceJson(*dataset) : DatasetDetails(*dataset)).c_str());
  if (!folder->has_value() || !dataset->report().has_contact_sheet()) return kExitOk;
  const absl::Status written = WriteContactSheet(*dataset, **std::move(folder));
  return written.ok() ? kExitOk : ReportError(written, flags.json);
}

Command AddReport(CLI::App& app) {
  const auto flags = std::make_shared<ReportFlags>();
  AddMessageFlags(app, flags->request, NameTable());
  CLI::Option* const out =
      app.add_option("-o,--out", flags->out,
                     "Also write a contact sheet of some pictures to this folder")
          ->type_name("DIR");
  AddOverwriteFlag(app, flags->overwrite)->needs(out);
  app.add_flag("--json", flags->json, "Print JSON and nothing else");
  AddConnectionFlags(app, flags->connection);
  return [flags] { return RunReport(*flags); };
}

Command AddDelete(CLI::App& app) {
  const auto flags = std::make_shared<ReportFlags>();
  AddMessageFlags(app, flags->request, NameTable());
  app.add_flag("--json", flags->json, "Print errors as JSON, and nothing otherwise");
  AddConnectionFlags(app, flags->connection);
  return [flags] {
    absl::StatusOr<TrainingClient> client = MakeTrainingClient(flags->connection);
    if (!client.ok()) return ReportError(client.status(), flags->json);
    const absl::Status status = client->DeleteDataset(flags->request.name());
    if (!status.ok()) return ReportNameError(status, *flags);
    if (!flags->json) {
      std::printf("data set %s is deleted\n", Printable(flags->request.name()).c_str());
    }
    return kExitOk;
  };
}

}  // namespace

Command AddDatasetsCommand(CLI::App& app) {
  CommandSet commands(app);
  commands.Add("upload", "Upload pictures and print a report about them", kUploadExamples,
               AddUpload);
  commands.Add("list", "List the data sets on the server", kListExamples, AddList);
  commands.Add("report", "Describe a data set: classes, sizes, near-duplicates, broken files",
               kReportExamples, AddReport);
  commands.Add("delete", "Delete a data set that no job uses",
               "  denoise datasets delete pictures\n", AddDelete);
  SetExamples(app, kExamples);
  return commands.Chosen();
}

}  // namespace denoise
