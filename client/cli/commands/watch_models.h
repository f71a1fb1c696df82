// Follows the models of a server.
#pragma once

#include "absl/status/status.h"
#include "client/cli/commands/interrupts.h"
#include "client/client.h"

namespace denoise {

// Prints a line for every model and then for every change; with `json` every event as JSON. Comes
// back if the server goes away for a while after its first event. Returns why it ended: CANCELLED
// if the user interrupts.
absl::Status WatchModels(Client& client, bool json, Interrupts& interrupts);

}  // namespace denoise
