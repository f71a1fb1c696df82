#include "client/cli/display/model_text.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/display/resource_text.h"
#include "client/cli/display/text.h"
#include "client/cli/flags/help_formatter.h"
#include "client/cli/flags/message_flags.h"
#include "client/cli/flags/sampler_flags.h"
#include "client/client.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string Shape(const v1::Model& model) {
  return absl::StrCat(model.width(), "x", model.height(), "x", model.channels());
}

std::string Parameters(int64_t count) {
  if (count >= 1'000'000'000) return absl::StrFormat("%.1f G", count * 1e-9);
  if (count >= 1'000'000) return absl::StrFormat("%.1f M", count * 1e-6);
  if (count >= 1'000) return absl::StrFormat("%.1f k", count * 1e-3);
  return absl::StrCat(count);
}

std::string ClassLines(const v1::Model& model) {
  std::string lines;
  for (const v1::ModelClass& entry : model.classes()) {
    absl::StrAppendFormat(&lines, "\n  %4d  %s", entry.label(), Printable(entry.display_name()));
  }
  return lines;
}

// The last column of a terminal stays free.
constexpr size_t kColumns = 79;

bool Failed(const v1::Model& model) { return model.state() == v1::Model::FAILED; }

// A server older than states tells none.
bool HasState(const v1::Model& model) { return model.state() != v1::Model::STATE_UNSPECIFIED; }

std::string StateText(const v1::Model& model) {
  if (!HasState(model)) return "-";
  const auto* const value = v1::Model::State_descriptor()->FindValueByNumber(model.state());
  return value == nullptr ? "unknown" : EnumFlagName(*value);
}

std::string MemoryText(const v1::Model& model) {
  return model.memory_bytes() > 0 ? BytesText(model.memory_bytes()) : "-";
}

std::string ClassCount(const v1::Model& model) {
  return model.classes().empty() ? "-" : absl::StrCat(model.classes_size());
}

// What is wrong with the files of the model; empty if nothing is.
std::string ErrorSentence(const v1::Model& model) {
  const std::string error = Printable(model.error());
  if (Failed(model)) return absl::StrCat("failed: ", error.empty() ? "no reason given" : error);
  if (error.empty()) return "";
  return absl::StrCat("an earlier version is served; the newer one failed: ", error);
}

std::string Wrapped(const std::string& text, size_t indent) {
  const std::string separator = absl::StrCat("\n", std::string(indent, ' '));
  return absl::StrJoin(WrapWords(text, kColumns - indent), separator);
}

// Everything that a server without states tells.
std::string TableWithoutStates(const std::vector<v1::Model>& models) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "SHAPE", "CLASSES", "PARAMETERS", "DEFAULT SAMPLER"}};
  for (const v1::Model& model : models) {
    rows.push_back({Printable(ShortModelName(model.name())), Shape(model), ClassCount(model),
                    Parameters(model.parameter_count()), SamplerFlagName(model.default_sampler())});
  }
  return FormatTable(rows);
}

// The number of parameters follows from the memory, near enough.
std::vector<std::string> RowWithState(const v1::Model& model) {
  const std::string name = Printable(ShortModelName(model.name()));
  if (Failed(model)) return {name, StateText(model), "-", "-", "-", "-"};
  return {name,         StateText(model),  MemoryText(model),
          Shape(model), ClassCount(model), SamplerFlagName(model.default_sampler())};
}

// "; or any multiples of 8".
std::string SizesText(const v1::Model& model) {
  if (model.size_multiple() == 0) return "";
  return absl::StrCat("; or any multiples of ", model.size_multiple());
}

std::string GuidanceText(const v1::Model& model) {
  if (!model.supports_guidance()) return "no";
  if (model.default_guidance_scale() == 0) return "yes";
  return absl::StrCat("yes; ", model.default_guidance_scale(), " unless you choose");
}

}  // namespace

std::string ModelTable(const std::vector<v1::Model>& models) {
  if (std::none_of(models.begin(), models.end(), HasState)) return TableWithoutStates(models);
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "STATE", "MEMORY", "SHAPE", "CLASSES", "SAMPLER"}};
  std::string reasons;
  for (const v1::Model& model : models) {
    rows.push_back(RowWithState(model));
    if (const std::string error = ErrorSentence(model); !error.empty()) {
      const std::string text =
          absl::StrCat(Printable(ShortModelName(model.name())), Failed(model) ? " " : ": ", error);
      absl::StrAppend(&reasons, reasons.empty() ? "\n\n" : "\n", Wrapped(text, 2));
    }
  }
  return FormatTable(rows) + reasons;
}

std::string ModelDetails(const v1::Model& model) {
  constexpr size_t kIndent = 18;
  std::string text = Printable(ShortModelName(model.name()));
  const std::string error = ErrorSentence(model);
  if (HasState(model)) {
    const std::string state =
        Failed(model) ? error : absl::StrCat(StateText(model), error.empty() ? "" : "; ", error);
    absl::StrAppend(&text, "\n  state           ", Wrapped(state, kIndent));
  }
  if (Failed(model)) return text;
  if (HasState(model)) absl::StrAppend(&text, "\n  memory          ", MemoryText(model));
  absl::StrAppend(&text, "\n  version         ", Printable(model.version()),                  //
                  "\n  makes           ", model.width(), " x ", model.height(), " pixels, ",  //
                  model.channels(), model.channels() == 1 ? " channel" : " channels",         //
                  SizesText(model),                                                           //
                  "\n  parameters      ", Parameters(model.parameter_count()),                //
                  "\n  predicts        ", Printable(model.prediction_type()),                 //
                  "\n  trained on      ", model.num_train_timesteps(), " timesteps",          //
                  "\n  default sampler ", SamplerFlagName(model.default_sampler()),           //
                  "\n  guidance        ", GuidanceText(model),                                //
                  "\n  prompts         ", model.takes_prompts() ? "yes" : "no",               //
                  "\n  adapters        ", model.takes_adapters() ? "yes" : "no",              //
                  "\n  source          ", Printable(model.source()),                          //
                  "\n  classes         ",
                  model.classes().empty() ? "none" : absl::StrCat(model.classes_size()),
                  ClassLines(model));
  return text;
}

std::string ModelLine(const v1::Model& model) {
  const std::string name = Printable(ShortModelName(model.name()));
  const std::string error = ErrorSentence(model);
  if (Failed(model)) return absl::StrCat("model ", name, " ", error);
  const bool in_memory = model.state() == v1::Model::LOADED && model.memory_bytes() > 0;
  return absl::StrCat("model ", name, " is ", HasState(model) ? StateText(model) : "served",
                      model.version().empty() ? "" : ", version ", Printable(model.version()),
                      in_memory ? ", " : "", in_memory ? BytesText(model.memory_bytes()) : "",
                      error.empty() ? "" : "; ", error);
}

std::string ModelJson(const v1::Model& model) { return MessageJson(model); }

std::string ModelEventJson(const v1::ModelEvent& event) { return MessageJson(event); }

void ModelNews::BeginStream() { reported_.clear(); }

std::vector<std::string> ModelNews::Add(const v1::ModelEvent& event) {
  if (event.has_complete()) return RemoveMissing();
  if (!event.removed().empty()) return Remove(event.removed());
  if (!event.has_model()) return {};
  reported_.insert(event.model().name());
  const std::string line = ModelLine(event.model());
  std::string& last = lines_[event.model().name()];
  if (last == line) return {};
  last = line;
  return {line};
}

std::vector<std::string> ModelNews::Remove(const std::string& name) {
  if (lines_.erase(name) == 0) return {};
  return {absl::StrCat("model ", Printable(ShortModelName(name)), " is removed")};
}

std::vector<std::string> ModelNews::RemoveMissing() {
  std::vector<std::string> missing;
  for (const auto& [name, line] : lines_) {
    if (!reported_.contains(name)) missing.push_back(name);
  }
  std::vector<std::string> removed;
  for (const std::string& name : missing) removed.push_back(Remove(name).front());
  return removed;
}

}  // namespace denoise
