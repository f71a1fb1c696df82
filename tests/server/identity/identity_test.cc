#include "server/identity/identity.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

const Identity kAcme = {.tenant = "acme", .scopes = {Scope::kGenerate}};
const Identity kAdmin = {.tenant = "ops", .scopes = {Scope::kAdmin}, .sees_all = true};

TEST(Tenant, IsAShortNameWithoutSlashes) {
  for (const char* tenant : {"acme", "7", "user@example.org", "auth0|12ab", "a-b_c.d:e+f"}) {
    EXPECT_TRUE(IsValidTenant(tenant)) << tenant;
  }
  for (const char* tenant : {"", "-", ".", "a/b", "a b", "a\n", "\xc3\xa4", "_a"}) {
    EXPECT_FALSE(IsValidTenant(tenant)) << tenant;
  }
  EXPECT_TRUE(IsValidTenant(std::string(128, 'a')));
  EXPECT_FALSE(IsValidTenant(std::string(129, 'a')));
}

TEST(Identity, SeesItsOwnTenantAndAnAdminSeesAll) {
  EXPECT_TRUE(kAcme.Sees("acme"));
  EXPECT_FALSE(kAcme.Sees("globex"));
  EXPECT_FALSE(kAcme.Sees(""));
  EXPECT_TRUE(kAdmin.Sees("acme"));
  EXPECT_TRUE(kAdmin.Sees(""));
}

TEST(FullName, TellsTenantsApartAndIsPlainWithoutOne) {
  EXPECT_EQ(FullName("acme", "datasets/emoji"), "tenants/acme/datasets/emoji");
  EXPECT_EQ(FullName("", "datasets/emoji"), "datasets/emoji");
  EXPECT_EQ(ParseFullName("tenants/acme/datasets/emoji").tenant, "acme");
  EXPECT_EQ(ParseFullName("tenants/acme/datasets/emoji").name, "datasets/emoji");
  EXPECT_EQ(ParseFullName("datasets/emoji").tenant, "");
  EXPECT_EQ(ParseFullName("tenants/acme").name, "");
  EXPECT_EQ(ParseFullName("tenants/").full(), "");
}

TEST(NameFor, LeavesOutTheViewersOwnTenantOnly) {
  EXPECT_EQ(NameFor(kAcme, "tenants/acme/generations/1"), "generations/1");
  EXPECT_EQ(NameFor(kAdmin, "tenants/acme/generations/1"), "tenants/acme/generations/1");
  EXPECT_EQ(NameFor(kAdmin, "generations/1"), "tenants/-/generations/1");
  EXPECT_EQ(NameFor(Anyone(), "generations/1"), "generations/1");
}

TEST(OwnedNameFrom, ReadsBackWhatEveryViewerCallsAResource) {
  for (const char* full_name : {"tenants/acme/generations/1", "generations/1"}) {
    for (const Identity& viewer : {kAcme, kAdmin, Anyone()}) {
      EXPECT_EQ(OwnedNameFrom(viewer, NameFor(viewer, full_name)).full(), full_name);
    }
  }
  EXPECT_EQ(OwnedNameFrom(kAcme, "generations/1").full(), "tenants/acme/generations/1");
}

TEST(Scopes, AdminIncludesTheOthers) {
  EXPECT_TRUE(Scopes({Scope::kAdmin}).Has(Scope::kTrain));
  EXPECT_FALSE(Scopes({Scope::kTrain}).Has(Scope::kGenerate));
  EXPECT_FALSE(Scopes({Scope::kGenerate, Scope::kTrain}).Has(Scope::kAdmin));
}

TEST(Scopes, AreReadStrictlyFromFlagsAndLooselyFromClaims) {
  EXPECT_EQ(Scopes::Parse("generate, train").value(), Scopes({Scope::kGenerate, Scope::kTrain}));
  EXPECT_FALSE(Scopes::Parse("generate,everything").ok());
  EXPECT_EQ(Scopes::KnownOf("openid train Generate"), Scopes({Scope::kTrain}));
  EXPECT_EQ(Scopes::KnownOf("files:read,admin train,generate"), Scopes());
}

}  // namespace
}  // namespace denoise
