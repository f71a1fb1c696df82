#include "server/identity/new_token_command.h"

#include <CLI/CLI.hpp>
#include <ostream>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "server/identity/token_file.h"

namespace denoise {
namespace {

constexpr int kOk = 0;
constexpr int kUsageError = 2;

constexpr char kHelp[] = R"(Examples:
  denoised new-token ci --tenant acme >> tokens
  denoised new-token ci --tenant acme --scopes generate,train --expires 2027-01-31 >> tokens
  denoised new-token ops --tenant ops --scopes admin >> tokens 2> ops.token

Standard output gets the entry for the file of `denoised --tokens`, which holds a hash only.
Standard error gets the token, which is shown this once.

Exit codes: 0 ok, 2 wrong usage.)";

struct NewTokenFlags {
  std::string name;
  std::string tenant;
  std::string scopes = "generate";
  std::string expires;
};

void AddFlags(CLI::App& app, NewTokenFlags& flags) {
  app.footer(kHelp);
  app.add_option("name", flags.name, "What the token is called: letters, digits, '-' and '.'")
      ->type_name("NAME")
      ->required();
  app.add_option("--tenant", flags.tenant, "Who owns what is made with the token")
      ->type_name("TENANT")
      ->required();
  app.add_option("--scopes", flags.scopes,
                 "What the token allows: generate (images), train (data sets and\n"
                 "training), admin (everything, for every tenant)")
      ->type_name("LIST")
      ->capture_default_str();
  app.add_option("--expires", flags.expires, "The day in UTC from which it is refused")
      ->type_name("YYYY-MM-DD");
}

absl::StatusOr<NewToken> MakeToken(const NewTokenFlags& flags) {
  ASSIGN_OR_RETURN(const Scopes scopes, Scopes::Parse(flags.scopes));
  std::optional<absl::Time> expires;
  if (!flags.expires.empty()) {
    absl::Time day;
    std::string error;
    if (!absl::ParseTime("%Y-%m-%d", flags.expires, &day, &error)) {
      return absl::InvalidArgumentError("--expires must be a day such as 2027-01-31, is " +
                                        Quoted(flags.expires));
    }
    expires = day;
  }
  return MakeToken(flags.name, flags.tenant, scopes, expires);
}

}  // namespace

std::optional<int> RunNewTokenCommand(int argc, const char* const* argv, std::ostream& out,
                                      std::ostream& err) {
  if (argc < 2 || std::string_view(argv[1]) != "new-token") return std::nullopt;
  NewTokenFlags flags;
  CLI::App app("Makes a bearer token for `denoised --tokens`.", "denoised new-token");
  AddFlags(app, flags);
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? kOk : kUsageError;
  }
  const absl::StatusOr<NewToken> made = MakeToken(flags);
  if (!made.ok()) {
    err << "denoised new-token: " << std::string(made.status().message()) << "\n";
    return kUsageError;
  }
  out << EncodeTokenEntry(made->entry) << std::endl;
  err << made->token << std::endl;
  return kOk;
}

}  // namespace denoise
