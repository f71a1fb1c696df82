#include "server/server_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "server/cores.h"
#include "server/rank_command.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

struct Parsed {
  std::variant<ServerFlags, int> result;
  std::string out;
  std::string err;

  const ServerFlags& flags() const { return std::get<ServerFlags>(result); }
  int exit_code() const { return std::get<int>(result); }
};

Parsed Parse(std::vector<const char*> args) {
  args.insert(args.begin(), "denoised");
  std::ostringstream out, err;
  auto result = ParseServerFlags(static_cast<int>(args.size()), args.data(), out, err);
  return {std::move(result), out.str(), err.str()};
}

TEST(ServerFlags, HaveDefaultsForEverythingButTheModels) {
  const Parsed parsed = Parse({"--models", "tests"});
  EXPECT_EQ(parsed.flags().models, "tests");
  EXPECT_EQ(parsed.flags().listen, "127.0.0.1:50051");
  EXPECT_EQ(parsed.flags().http, "127.0.0.1:8080");
  EXPECT_EQ(parsed.flags().device, "auto");
  EXPECT_TRUE(parsed.flags().batch_invariant);
  EXPECT_EQ(parsed.flags().max_receive_bytes, 4 << 20);
  EXPECT_EQ(parsed.flags().max_picture_pixels, 16 << 20);
  EXPECT_EQ(parsed.flags().max_micro_batch_pixels, 4 << 20);
  EXPECT_EQ(parsed.flags().access_log, "off");
}

TEST(ServerFlags, AreRead) {
  const ServerFlags flags =
      Parse({"--models",         "tests",    "--listen",          "0.0.0.0:0",
             "--http",           "off",      "--device",          "cuda:0,cuda:1",
             "--max-batch-rows", "8",        "--max-active-rows", "8",
             "--queue-size",     "3",        "--batch-invariant", "false",
             "--dtype",          "bfloat16", "--drain-seconds",   "0"})
          .flags();
  EXPECT_EQ(flags.listen, "0.0.0.0:0");
  EXPECT_EQ(flags.http, "") << "off";
  EXPECT_EQ(flags.device, "cuda:0,cuda:1");
  EXPECT_EQ(flags.max_batch_rows, 8);
  EXPECT_EQ(flags.queue_size, 3);
  EXPECT_FALSE(flags.batch_invariant);
  EXPECT_EQ(flags.dtype, "bfloat16");
  EXPECT_EQ(flags.drain_seconds, 0);
}

TEST(ServerFlags, ModelsMayHaveDtypesOfTheirOwn) {
  const ServerFlags flags =
      Parse({"--models", "tests", "--dtype", "sdxl=float16", "--dtype", "bfloat16", "--dtype",
             "emoji-32@2=float32", "--text-encoders", "cpu"})
          .flags();
  EXPECT_EQ(flags.dtype, "bfloat16");
  EXPECT_EQ(flags.model_dtypes,
            (std::map<std::string, std::string>{{"sdxl", "float16"}, {"emoji-32@2", "float32"}}));
  EXPECT_EQ(flags.text_encoders, "cpu");
}

TEST(ServerFlags, IdentityFlagsBelongTogether) {
  const char* const file = "tests/CMakeLists.txt";  // any that there is
  const auto refuses = [&](std::vector<const char*> args, const char* why) {
    args.insert(args.begin(), {"--models", "tests"});
    const Parsed parsed = Parse(args);
    EXPECT_TRUE(std::holds_alternative<int>(parsed.result)) << why;
    EXPECT_THAT(parsed.err, HasSubstr(why));
  };
  refuses({"--tokens", file, "--tenant-header", "x-tenant"},
          "--tokens cannot be combined with --tenant-header");
  refuses({"--tenant-header", "x tenant"}, "must be the name of a header");
  refuses({"--jwt-jwks", file}, "--jwt-");
  refuses({"--jwt-issuer", "https://issuer"}, "--jwt-jwks");
  refuses({"--tls-client-ca", file}, "--tls-cert");
  refuses({"--metrics-access", "nobody"}, "--metrics-access");
  const ServerFlags flags =
      Parse({"--models", "tests", "--jwt-jwks", file, "--jwt-issuer", "https://issuer",
             "--jwt-audience", "denoised", "--tokens", file, "--reflection", "off"})
          .flags();
  EXPECT_EQ(flags.jwt_audience, "denoised");
  EXPECT_FALSE(flags.reflection);
  EXPECT_EQ(Parse({"--models", "tests", "--tenant-header", "X-Tenant"}).flags().tenant_header,
            "x-tenant");
}

TEST(ServerFlags, HelpAndVersionEndWell) {
  const Parsed help = Parse({"--help"});
  EXPECT_EQ(help.exit_code(), 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  const Parsed version = Parse({"--version"});
  EXPECT_EQ(version.exit_code(), 0);
  EXPECT_THAT(version.out, HasSubstr("denoised "));
}

TEST(ServerFlags, HelpFitsIn100Columns) {
  std::istringstream help(Parse({"--help"}).out);
  for (std::string line; std::getline(help, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST(ServerFlags, WrongOnesExitWithTwoAndNameTheFlag) {
  const struct {
    std::vector<const char*> args;
    const char* named;
  } cases[] = {
      {{}, "--models"},
      {{"--models", "tests", "--max-batch-rows", "0"}, "--max-batch-rows"},
      {{"--models", "tests", "--max-batch-rows", "many"}, "--max-batch-rows"},
      {{"--models", "tests", "--max-batch-rows", "32", "--max-active-rows", "16"},
       "--max-active-rows"},
      {{"--models", "tests", "--access-log-mib", "0"}, "--access-log-mib"},
      {{"--models", "tests", "--dtype", "int8"}, "--dtype"},
      {{"--models", "tests", "--dtype", "sdxl=int8"}, "sdxl=int8"},
      {{"--models", "tests", "--dtype", "=float32"}, "--dtype"},
      {{"--models", "tests", "--dtype", "float32", "--dtype", "bfloat16"}, "is given twice"},
      {{"--models", "tests", "--dtype", "a=float32", "--dtype", "a=bfloat16"}, "a is given twice"},
      {{"--models", "tests", "--text-encoders", "cuda"}, "--text-encoders"},
      {{"--models", "tests", "--log-level", "loud"}, "--log-level"},
      {{"--models", "tests", "--tls-cert", "LICENSE"}, "--tls-key"},
      {{"--models", "tests", "--unheard-of"}, "--unheard-of"},
  };
  for (const auto& test : cases) {
    const Parsed parsed = Parse(test.args);
    ASSERT_TRUE(std::holds_alternative<int>(parsed.result)) << test.named;
    EXPECT_EQ(parsed.exit_code(), 2);
    EXPECT_THAT(parsed.err, HasSubstr(test.named));
  }
}

TEST(ServerFlags, UsageErrorsNameTheFlagThatWasMeant) {
  const std::string help = "\n  `denoised --help` explains every flag.\n";
  EXPECT_EQ(Parse({}).err, "denoised: --models is required" + help);
  EXPECT_EQ(Parse({"--models", "tests", "--queue-sise", "3"}).err,
            "denoised: unknown flag --queue-sise; did you mean --queue-size?" + help);
  EXPECT_EQ(Parse({"--models", "tests", "--queue-size", "0"}).err,
            "denoised: --queue-size: must be from 1 to 65536; is 0" + help);
  EXPECT_EQ(Parse({"--models", "tests", "--batching", "all"}).err,
            "denoised: --batching: must be one of evaluation, request, none; is all" + help);
  std::vector<const char*> rank = {"rank", "--jion", "trainer:29500"};
  std::ostringstream out, err;
  EXPECT_EQ(std::get<int>(ParseRankFlags(3, rank.data(), out, err)), 2);
  EXPECT_EQ(err.str(),
            "denoised: unknown flag --jion; did you mean --join?\n  `denoised rank --help` "
            "explains every flag.\n");
}

TEST(ServerFlags, AnEmptyValueIsNoFlagLeftOut) {
  for (const char* flag : {"--state", "--handover-key", "--access-log", "--tokens", "--http"}) {
    const Parsed parsed = Parse({"--models", "tests", flag, ""});
    EXPECT_EQ(parsed.exit_code(), 2) << flag;
    EXPECT_THAT(parsed.err, HasSubstr(std::string(flag) + ": must not be empty\n"));
  }
}

TEST(ServerFlags, ACommandOfTheClientIsToldWhoseItIs) {
  const Parsed parsed = Parse({"generate", "--class-label", "animals"});
  EXPECT_EQ(parsed.exit_code(), 2);
  EXPECT_THAT(parsed.err, HasSubstr("denoised: unknown command generate\n"));
  EXPECT_THAT(parsed.err, HasSubstr("are commands of the program denoise.\n"));
}

TEST(Cores, FollowAContainersQuota) {
  EXPECT_EQ(CoresOfQuota("200000 100000"), 2);
  EXPECT_EQ(CoresOfQuota("150000 100000\n"), 2);
  EXPECT_EQ(CoresOfQuota("50000 100000"), 1);
  for (const char* unlimited : {"max 100000", "", "200000", "0 100000", "-1 100000", "1 0"}) {
    EXPECT_EQ(CoresOfQuota(unlimited), 0) << unlimited;
  }
  EXPECT_GE(UsableCores(), 1);
}

TEST(ServerFlags, TenantsHaveWeights) {
  const ServerFlags flags =
      Parse({"--models", "tests", "--tenant-weight", "studio=3", "--tenant-weight", "a=b=0.5"})
          .flags();
  EXPECT_EQ(flags.tenant_weights.at("studio"), 3);
  EXPECT_EQ(flags.tenant_weights.at("a=b"), 0.5);
  for (const char* weight : {"studio", "=3", "studio=", "studio=0", "studio=-1", "studio=nan",
                             "studio=inf", "studio=1e9", "studio=x"}) {
    const Parsed parsed = Parse({"--models", "tests", "--tenant-weight", weight});
    EXPECT_EQ(parsed.exit_code(), 2) << weight;
    EXPECT_THAT(parsed.err, HasSubstr("--tenant-weight")) << weight;
  }
  EXPECT_THAT(Parse({"--models", "tests", "--tenant-weight", "a=1", "--tenant-weight", "a=2"}).err,
              HasSubstr("a is given twice"));
}

TEST(ServerFlags, BatchingIsOneOfThree) {
  EXPECT_EQ(Parse({"--models", "tests"}).flags().batching, "evaluation");
  EXPECT_EQ(Parse({"--models", "tests", "--batching", "none"}).flags().batching, "none");
  EXPECT_EQ(Parse({"--models", "tests", "--batching", "all"}).exit_code(), 2);
}

}  // namespace
}  // namespace denoise
