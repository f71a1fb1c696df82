#include "server/migration/new_handover_key_command.h"

#include <CLI/CLI.hpp>
#include <ostream>
#include <string_view>

#include "server/migration/token_keys.h"

namespace denoise {
namespace {

constexpr int kOk = 0;
constexpr int kUsageError = 2;

constexpr char kHelp[] = R"(Examples:
  denoised new-handover-key > handover.key
  denoised --models models --handover-key handover.key

Give all servers of a deployment the same file: they continue one another's generations. Whoever has
it can read the requests in tokens, so keep it as secret as a password.

Exit codes: 0 ok, 2 wrong usage.)";

}  // namespace

std::optional<int> RunNewHandoverKeyCommand(int argc, const char* const* argv, std::ostream& out,
                                            std::ostream& err) {
  if (argc < 2 || std::string_view(argv[1]) != "new-handover-key") return std::nullopt;
  CLI::App app("Prints a new key for the file of `denoised --handover-key`.",
               "denoised new-handover-key");
  app.footer(kHelp);
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? kOk : kUsageError;
  }
  out << NewTokenKeyLine();
  return kOk;
}

}  // namespace denoise
