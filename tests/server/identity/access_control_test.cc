#include "server/identity/access_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kListModels[] = "/denoised.v1.Models/ListModels";
constexpr char kDeleteModel[] = "/denoised.v1.Models/DeleteModel";
constexpr char kListDatasets[] = "/denoised.v1.Datasets/ListDatasets";

class AccessControlTest : public testing::Test {
 protected:
  // Writes a file with one token and returns that.
  std::string WriteToken(Scopes scopes, std::optional<absl::Time> expires = std::nullopt) {
    const NewToken made = MakeToken("ci", "acme", scopes, expires).value();
    WriteFile(path_, EncodeTokenEntry(made.entry));
    return made.token;
  }

  const AccessControl* Open(const std::string& tenant_header = "") {
    opened_.push_back(
        AccessControl::Open({.tokens = tenant_header.empty() ? path_ : std::filesystem::path(),
                             .tenant_header = tenant_header,
                             .clock = &clock_},
                            watch_)
            .value());
    return opened_.back().get();
  }

  static Credentials Bearer(const std::string& token) {
    return {.authorization = "Bearer " + token, .tenant = {}, .sealed = {}};
  }

  TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "tokens";
  FakeClock clock_;
  std::vector<std::unique_ptr<AccessControl>> opened_;
  FileWatch watch_{absl::Seconds(2), &clock_};
};

TEST_F(AccessControlTest, ATokenSaysWhoCallsAndWhatTheyMayDo) {
  const std::string token = WriteToken({Scope::kGenerate});
  const auto* const access = Open();
  const auto caller = access->Admit(kListModels, Bearer(token));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->tenant, "acme");
  EXPECT_FALSE(caller->sees_all);
  const absl::Status refused = access->Admit(kListDatasets, Bearer(token)).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("\"train\""));
  EXPECT_TRUE(absl::IsPermissionDenied(access->Admit(kDeleteModel, Bearer(token)).status()));
}

TEST_F(AccessControlTest, AnAdminMayDoEverythingAndSeesAll) {
  const std::string token = WriteToken({Scope::kAdmin});
  const auto* const access = Open();
  for (const char* method : {kListModels, kListDatasets, kDeleteModel, "/unknown/Method"}) {
    const auto caller = access->Admit(method, Bearer(token));
    ASSERT_TRUE(caller.ok()) << method << caller.status();
    EXPECT_TRUE(caller->sees_all);
  }
}

TEST_F(AccessControlTest, AMethodThatTheTableDoesNotKnowIsForAdminsOnly) {
  const std::string token = WriteToken({Scope::kGenerate, Scope::kTrain});
  EXPECT_TRUE(
      absl::IsPermissionDenied(Open()->Admit("/denoised.v1.New/Method", Bearer(token)).status()));
}

TEST_F(AccessControlTest, WhatIsNoTokenOfTheFileIsRefusedWithoutSayingWhy) {
  const std::string token = WriteToken({Scope::kGenerate});
  const auto* const access = Open();
  const std::string other = MakeToken("ci", "acme", {Scope::kAdmin}, std::nullopt)->token;
  const std::string stranger = MakeToken("me", "acme", {Scope::kAdmin}, std::nullopt)->token;
  std::string said;
  for (const std::string& authorization :
       {"Bearer " + other, "Bearer " + stranger, std::string("Bearer "), std::string("Bearer"),
        "Basic " + token, token, "Bearer " + token + ",Bearer " + token, "Bearer  " + token,
        std::string("Bearer ") + std::string(100000, 'a'), std::string(1, '\0')}) {
    const absl::Status status =
        access->Admit(kListModels, {.authorization = authorization, .tenant = {}, .sealed = {}})
            .status();
    EXPECT_TRUE(absl::IsUnauthenticated(status)) << authorization;
    EXPECT_EQ(GetErrorReason(status), "CREDENTIALS_NOT_VALID");
    if (said.empty()) said = std::string(status.message());
    EXPECT_EQ(std::string(status.message()), said);
    EXPECT_THAT(said, Not(HasSubstr(token)));
  }
}

TEST_F(AccessControlTest, ACallWithoutCredentialsIsToldToBringSome) {
  WriteToken({Scope::kGenerate});
  const absl::Status status = Open()->Admit(kListModels, {}).status();
  EXPECT_TRUE(absl::IsUnauthenticated(status));
  EXPECT_EQ(GetErrorReason(status), "CREDENTIALS_MISSING");
  EXPECT_FALSE(WithholdsMessage(status));
}

TEST_F(AccessControlTest, ATokenExpires) {
  const std::string token = WriteToken({Scope::kGenerate}, clock_.Now() + absl::Seconds(10));
  const auto* const access = Open();
  EXPECT_TRUE(access->Admit(kListModels, Bearer(token)).ok());
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(GetErrorReason(access->Admit(kListModels, Bearer(token)).status()),
            "CREDENTIALS_EXPIRED");
}

TEST_F(AccessControlTest, TheSchemeHasNoCase) {
  const std::string token = WriteToken({Scope::kGenerate});
  EXPECT_TRUE(
      Open()
          ->Admit(kListModels, {.authorization = "bearer " + token, .tenant = {}, .sealed = {}})
          .ok());
}

TEST_F(AccessControlTest, WithoutCredentialsEverybodyMayDoEverything) {
  const auto access = AccessControl::Open({}, watch_).value();
  const auto caller = access->Admit(kDeleteModel, Bearer("whatever"));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->tenant, "");
  EXPECT_TRUE(caller->sees_all);
  Credentials header;
  header.tenant = "acme";
  EXPECT_EQ(access->Identify(header)->tenant, "") << "no header was to be believed";
}

TEST_F(AccessControlTest, ATrustedHeaderTellsTenantsApart) {
  const auto* const access = Open("x-tenant");
  Credentials header;
  header.tenant = "acme";
  EXPECT_EQ(access->Identify(header)->tenant, "acme");
  EXPECT_FALSE(access->Identify(header)->Sees("globex"));
  EXPECT_FALSE(access->Identify({})->Sees("acme")) << "a proxy may forget the header";
  header.tenant = "a/b";
  const absl::Status status = access->Identify(header).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(GetFieldViolations(status).front().field, "x-tenant");
}

TEST_F(AccessControlTest, OnlyThisProcessCanSealAnIdentity) {
  WriteToken({Scope::kGenerate});
  const AccessControl* const access = Open();
  const AccessControl* const other = Open();
  const Identity identity = {.tenant = "acme", .scopes = {Scope::kTrain}, .sees_all = false};
  Credentials sealed;
  sealed.sealed = access->Seal(identity);
  const auto unsealed = access->Identify(sealed);
  ASSERT_TRUE(unsealed.ok()) << unsealed.status();
  EXPECT_EQ(unsealed->tenant, "acme");
  EXPECT_EQ(unsealed->scopes, Scopes({Scope::kTrain}));
  EXPECT_FALSE(unsealed->sees_all);
  EXPECT_TRUE(
      access->Identify({.authorization = {}, .tenant = {}, .sealed = access->Seal(Anyone())})
          ->sees_all);
  EXPECT_TRUE(absl::IsUnauthenticated(other->Identify(sealed).status()));
  for (const std::string& forged :
       {std::string("acme"), std::string(36, '1'), sealed.sealed.substr(1), std::string(1, '\0')}) {
    EXPECT_TRUE(absl::IsUnauthenticated(
        access->Identify({.authorization = {}, .tenant = {}, .sealed = forged}).status()));
  }
}

TEST_F(AccessControlTest, NewTokensAreInForceWithoutARestart) {
  const std::string old_token = WriteToken({Scope::kGenerate});
  const auto* const access = Open();
  clock_.AwaitDeadline();
  const std::string new_token = WriteToken({Scope::kGenerate, Scope::kTrain});
  const auto is_new = [&] { return access->Identify(Bearer(new_token)).ok(); };
  while (!is_new()) {
    clock_.AwaitDeadline();
    clock_.Advance(absl::Seconds(2));
  }
  EXPECT_FALSE(access->Identify(Bearer(old_token)).ok());
}

TEST_F(AccessControlTest, ABrokenFileLeavesTheOldTokensInForce) {
  const std::string token = WriteToken({Scope::kGenerate});
  const auto* const access = Open();
  WriteFile(path_, "{\"name\": ");
  for (int look = 0; look < 3; ++look) {
    clock_.AwaitDeadline();
    clock_.Advance(absl::Seconds(2));
  }
  clock_.AwaitDeadline();
  EXPECT_TRUE(access->Identify(Bearer(token)).ok());
}

TEST_F(AccessControlTest, AServerDoesNotStartWithABrokenFile) {
  WriteFile(path_, "{}");
  const auto access = AccessControl::Open({.tokens = path_, .tenant_header = {}}, watch_);
  EXPECT_TRUE(absl::IsInvalidArgument(access.status()));
  EXPECT_THAT(std::string(access.status().message()), HasSubstr("--tokens: line 1"));
}

}  // namespace
}  // namespace denoise
