// Flags that set fields of a message, declared as a table: what a flag takes follows from the field's
// type, so that the contract is told in one place.
#pragma once

#include <google/protobuf/message.h>

#include <CLI/App.hpp>
#include <span>
#include <string>
#include <string_view>

namespace denoise {

struct MessageFlag {
  const char* flag;   // "--learning-rate", or "-m,--model"
  const char* field;  // by its path in the message: "optimizer.learning_rate"
  const char* help;
  const char* group = "Options";
};

// Declares `flags` on `app`, which set fields of `message` when it parses; what is not given is left
// alone, so that the server's defaults hold. Numbers, text, switches (true where no value follows),
// enumerations by their names in small letters with dashes ("log-normal"), google.protobuf.Duration
// ("90s", "2h"), and repeated fields of these, separated by commas. `message` outlives `app`.
// `flags` are of this program: a path that is not there ends it.
void AddMessageFlags(CLI::App& app, google::protobuf::Message& message,
                     std::span<const MessageFlag> flags);

// The flag that sets `field` of a message ("--learning-rate"); empty where none of `flags` does.
std::string FlagOf(std::span<const MessageFlag> flags, std::string_view field);

// An enumerator as flags name it: "log-normal" for OBJECTIVE_TIMESTEP_SAMPLING_LOG_NORMAL.
std::string EnumFlagName(const google::protobuf::EnumValueDescriptor& value);

}  // namespace denoise
