#include "client/cli/flags/lost_connection.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/connection_problem.h"
#include "client/status_from_grpc.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(2);

struct Remembered {
  ClientOptions options;
  absl::Time deadline;
};

// A process runs one command, with one set of flags for its connection.
std::optional<Remembered>& Last() {
  static auto* const last = new std::optional<Remembered>();
  return *last;
}

}  // namespace

void RememberConnection(ClientOptions& options, absl::Time deadline) {
  options.answered = std::make_shared<std::atomic<bool>>(false);
  Last() = {.options = options, .deadline = deadline};
}

absl::Status ExplainLostConnection(const absl::Status& status) {
  const bool is_answer = status.GetPayload(kRpcStatusUrl).has_value();
  if (!absl::IsUnavailable(status) || is_answer) return status;
  const std::optional<Remembered> last = std::exchange(Last(), std::nullopt);
  if (!last || *last->options.answered) return status;
  const auto problem =
      FindConnectionProblem(last->options, std::min(last->deadline, absl::Now() + kPatience));
  if (!problem) return status;
  return WithErrorReason(
      absl::UnavailableError(
          absl::StrCat("no connection to ", last->options.address, ": ", problem->description)),
      problem->reason);
}

}  // namespace denoise
