// Flags that set fields of a message, declared as a table. One row holds everything that the
// command line knows about a field: its flag, its help, how text becomes its value and back, and
// the name that errors give it. What a flag accepts follows from the field's type.
#pragma once

#include <google/protobuf/message.h>

#include <CLI/App.hpp>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// What a row states besides its four columns; every member may be left out.
struct FlagForm {
  // How the help calls the value; the type's own name where absent. A bool with a name here takes a
  // value ("--clip-sample false"), one without is a switch ("--horizontal-flip").
  const char* value = nullptr;
  // The value when the flag is not given. Set only where the message that holds the field is
  // present.
  const char* preset = nullptr;
  bool required = false;

  // At most one of these three, where the text is not simply the value.
  // The text names a file; this turns its bytes into the field's.
  absl::StatusOr<std::string> (*from_file)(const std::string& bytes) = nullptr;
  // The text names something of a model, such as a class. `parent` is the message with the field.
  absl::Status (*from_model)(const std::string& text, const denoised::v1::Model& model,
                             google::protobuf::Message& parent) = nullptr;
  // The text stands for several fields of `parent`. Returns what it must be where it is wrong.
  std::string (*parse)(const std::string& text, google::protobuf::Message& parent) = nullptr;
};

struct MessageFlag {
  std::string flag;   // "--learning-rate", "-m,--model", or "picture" for a positional argument
  std::string field;  // its path in the message: "optimizer.learning_rate"
  std::string help;
  std::string group = "Options";
  FlagForm form = {};
};

using FlagTable = std::vector<MessageFlag>;
FlagTable Join(std::initializer_list<FlagTable> tables);

// The texts of the flags that were given, by field.
using GivenFlags = std::map<std::string, std::vector<std::string>, std::less<>>;

// Declares `flags` on `app`; they set fields of `message` when it parses. A field whose flag is not
// given is left alone, so that the server's default holds. Numbers, text, switches, enumerations by
// name ("log-normal"), google.protobuf.Duration ("90s", "2h"), repeated fields of these separated
// by commas, and maps of text (KEY=VALUE, repeatable). Flags of different fields of a oneof exclude
// each other. `message` and `given` outlive `app`; `given` may be null unless a row needs
// CompleteMessage. The tables are this program's own: a wrong path ends it.
void AddMessageFlags(CLI::App& app, google::protobuf::Message& message,
                     std::span<const MessageFlag> flags, GivenFlags* given = nullptr);

// Sets what parsing could not: fields from files, from names that `model` explains, and presets.
// InvalidArgument lists every field that failed.
absl::Status CompleteMessage(std::span<const MessageFlag> flags, const GivenFlags& given,
                             const denoised::v1::Model& model, google::protobuf::Message& message);

// The arguments that set what `message` holds ("--steps", "20"). Files and names go by the texts
// that were given; bytes without such a text are left out.
std::vector<std::string> ArgumentsOf(std::span<const MessageFlag> flags,
                                     const google::protobuf::Message& message,
                                     const GivenFlags& given = {});

// The same as one line that a shell takes: "denoise generate --class-label 'ice cream'".
std::string CommandLine(const std::string& command, const std::vector<std::string>& arguments);

// The flag of exactly this field ("--learning-rate"); empty where none of `flags` sets it.
std::string FlagOf(std::span<const MessageFlag> flags, std::string_view field);

// An enumerator as flags name it: "log-normal" for TIMESTEP_SAMPLING_LOG_NORMAL. Names that people
// know with underscores keep them: "sigma_min", "x_t".
std::string EnumFlagName(const google::protobuf::EnumValueDescriptor& value);

}  // namespace denoise
