// Messages of the server speak of fields and enumerators of the contract; people and scripts that
// use `denoise` know flags and the values that these take.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "client/cli/flags/message_flags.h"

namespace denoise {

// `text` with fields ("ema_decays", "optimizer.learning_rate") as the flags of `flags` that set
// them, and enumerators ("HYBRID", "ENCODING_RAW_FLOAT32") as those flags take them. A word that is
// also plain English ("steps") becomes a flag only after "with" or "beside".
std::string WithFlagNames(std::span<const MessageFlag> flags, std::string_view text);

// What an error calls `field`: the flag that sets it, the first flag of the message that it is, or,
// for a oneof, the first flag of each choice ("--base-model or --height"). An index stays:
// "--timesteps[3]" for "sampler.timesteps[3]". A field without a flag is its own name.
std::string FlagOfField(std::span<const MessageFlag> flags, std::string_view field);

}  // namespace denoise
