#include "server/checkpoints/new_model_command.h"

#include <c10/core/ScalarType.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <limits>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/command_line/flag_values.h"
#include "core/pipeline/new_pipeline.h"
#include "core/pipeline/parsed_pipeline.h"
#include "core/pipeline/published_configs.h"
#include "server/checkpoints/report_text.h"

namespace denoise {
namespace {

constexpr char kHelp[] = R"(Examples:
  denoise new-model models/sd15-random --like sd15
  denoise new-model models/sd15-random --like sd15 --tokenizer stable-diffusion-v1-5/tokenizer
  denoise new-model models/mine --configs my-configurations --dtype float32 --seed 7

The weights are random, so its images show nothing. It loads, answers and takes the time and the
memory of the published model: use it to size machines and to try a server out without a download.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 130 interrupted.)";

const std::map<std::string, at::ScalarType>& Dtypes() {
  static const std::map<std::string, at::ScalarType> kDtypes = {
      {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}};
  return kDtypes;
}

struct NewModelFlags {
  std::string folder;
  std::string like;
  std::string configs;
  std::string tokenizer;
  std::string dtype = "float16";
  uint64_t seed = 0;
};

volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C ends the writing, which removes what was written, instead of the process.
void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second one ends the process
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// Shows on `err` how far a part is: a line for each part, which a terminal shows growing.
class Progress {
 public:
  Progress(at::ScalarType dtype, bool terminal, std::ostream& err)
      : item_bytes_(static_cast<int64_t>(c10::elementSize(dtype))),
        terminal_(terminal),
        err_(err) {}

  void Show(const PartDescription& part, int64_t written) {
    const int64_t total = part.num_parameters;
    const int64_t percent = total == 0 ? 100 : 100 * written / total;
    if (written > 0 && (!terminal_ || percent == percent_)) return;
    percent_ = percent;
    if (terminal_ && written > 0) err_ << "\r";
    err_ << part.name << ": " << NumberText(total) << " parameters, "
         << SizeText(total * item_bytes_);
    if (terminal_) err_ << absl::StrCat(", ", percent, " %");
    if (!terminal_ || written == total) err_ << "\n";
    err_.flush();
  }

 private:
  const int64_t item_bytes_;
  const bool terminal_;
  std::ostream& err_;
  int64_t percent_ = -1;
};

absl::StatusOr<std::map<std::string, std::string>> TextsOf(const NewModelFlags& flags) {
  if (!flags.like.empty()) return PublishedTexts(flags.like, flags.tokenizer);
  ASSIGN_OR_RETURN(const ParsedPipeline configs, ParsedPipeline::OpenConfigs(flags.configs));
  return configs.Texts();
}

absl::Status WriteNewModel(const NewModelFlags& flags, std::ostream& err) {
  RETURN_IF_ERROR(CheckAbsent(flags.folder));
  ASSIGN_OR_RETURN(const auto texts, TextsOf(flags));
  CatchInterrupts();
  const at::ScalarType dtype = Dtypes().at(flags.dtype);
  Progress progress(dtype, isatty(STDERR_FILENO) == 1, err);
  return WriteNewPipeline(flags.folder, texts,
                          {.dtype = dtype,
                           .seed = flags.seed,
                           .progress = [&](const PartDescription& part, int64_t written) {
                             progress.Show(part, written);
                             return interrupted != 0 ? absl::CancelledError() : absl::OkStatus();
                           }});
}

int RunNewModel(const NewModelFlags& flags, std::ostream& out, std::ostream& err) {
  const absl::Status status = WriteNewModel(flags, err);
  if (absl::IsCancelled(status)) {
    err << "denoise new-model: interrupted; nothing was written\n";
    return kInterrupted;
  }
  if (!status.ok()) {
    err << "denoise new-model: " << std::string(status.message()) << "\n";
    return kFailed;
  }
  out << "wrote " << flags.folder << "\n";
  return kOk;
}

}  // namespace

CheckpointCommand AddNewModel(CLI::App& app) {
  const auto flags = std::make_shared<NewModelFlags>();
  app.description("Writes a model of a published shape with random weights.");
  app.footer(kHelp);
  app.add_option("folder", flags->folder, "The folder to write, which must not exist")
      ->type_name("DIR")
      ->required()
      ->check(CLI::Validator(CheckModelFolder, ""));
  constexpr char kShape[] = "The shape of the model; one is required";
  auto* like = app.add_option("--like", flags->like,
                              "A published model: Stable Diffusion 1.5 (sd15; 2.0 GiB in\n"
                              "float16) or XL (sdxl; 6.5 GiB)")
                   ->check(CLI::IsMember(PublishedConfigNames()))
                   ->group(kShape);
  app.add_option("--configs", flags->configs,
                 "A folder in the diffusers layout with configurations\n"
                 "and tokenizers; weights in it are not read")
      ->type_name("DIR")
      ->check(CLI::Validator(CheckFolder, ""))
      ->excludes(like)
      ->group(kShape);
  app.final_callback([flags] {
    if (flags->like.empty() && flags->configs.empty()) {
      throw CLI::ValidationError("--like", "is required, or --configs");
    }
  });
  app.add_option("--tokenizer", flags->tokenizer,
                 "A folder with the files of CLIP's tokenizer. Default: one\n"
                 "that reads bytes, so that prompts have more tokens")
      ->type_name("DIR")
      ->check(CLI::Validator(CheckFolder, ""))
      ->needs(like);
  app.add_option("--dtype", flags->dtype, "The data type of the weights in the files")
      ->check(CLI::IsMember({"float16", "bfloat16", "float32"}))
      ->capture_default_str();
  AddWholeNumber(app, "--seed", flags->seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(),
                 "The same seed gives the same weights on any machine")
      ->default_str("0");
  return [flags](std::ostream& out, std::ostream& err) { return RunNewModel(*flags, out, err); };
}

}  // namespace denoise
