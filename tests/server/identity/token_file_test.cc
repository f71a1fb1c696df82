#include "server/identity/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using testing::HasSubstr;

NewToken Make(std::string_view name) {
  return MakeToken(name, "acme", {Scope::kGenerate, Scope::kTrain}, absl::FromUnixSeconds(1000))
      .value();
}

TEST(TokenFile, FindsATokenByItsHashAlone) {
  const NewToken made = Make("ci");
  const std::string line = EncodeTokenEntry(made.entry);
  EXPECT_EQ(line.find(made.token.substr(7)), std::string::npos) << "the file has the secret";
  const auto file = TokenFile::Parse("# tokens\n\n" + line + "\n");
  ASSERT_TRUE(file.ok()) << file.status();
  const TokenEntry* const found = file->Find(made.token);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->tenant, "acme");
  EXPECT_EQ(found->scopes, Scopes({Scope::kGenerate, Scope::kTrain}));
  EXPECT_EQ(found->expires, absl::FromUnixSeconds(1000));
}

TEST(TokenFile, NoOtherTokenIsFound) {
  const NewToken made = Make("ci");
  const auto file = TokenFile::Parse(EncodeTokenEntry(made.entry)).value();
  EXPECT_EQ(file.Find(""), nullptr);
  EXPECT_EQ(file.Find("dnt_ci_"), nullptr);
  EXPECT_EQ(file.Find("dnt_ci"), nullptr);
  EXPECT_EQ(file.Find(Make("ci").token), nullptr);
  EXPECT_EQ(file.Find(Make("other").token), nullptr);
  EXPECT_EQ(file.Find(made.token + " "), nullptr);
  for (size_t i = 0; i < made.token.size(); ++i) {
    std::string changed = made.token;
    changed[i] ^= 1;
    EXPECT_EQ(file.Find(changed), nullptr) << i;
    EXPECT_EQ(file.Find(made.token.substr(0, i)), nullptr) << i;
  }
}

TEST(TokenFile, TwoTokensOfANameAreNeverTheSame) {
  const NewToken one = Make("ci"), other = Make("ci");
  EXPECT_NE(one.token, other.token);
  EXPECT_NE(one.entry.salt, other.entry.salt);
  EXPECT_GE(one.token.size(), std::string("dnt_ci_").size() + 43);
}

TEST(TokenFile, SaysWhichLineIsWrongAndWhy) {
  const std::string good = EncodeTokenEntry(Make("ci").entry);
  const auto error = [](const std::string& text) {
    return std::string(TokenFile::Parse(text).status().message());
  };
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string line = good;
    return error("\n" + line.replace(line.find(from), from.size(), to));
  };
  EXPECT_THAT(error(good + "\n" + good), HasSubstr("line 2: name is that of an earlier line"));
  EXPECT_THAT(error("[]"), HasSubstr("line 1: "));
  EXPECT_THAT(with("\"ci\"", "\"c_i\""), HasSubstr("line 2: name must be"));
  EXPECT_THAT(with("\"acme\"", "\"a/b\""), HasSubstr("tenant must be"));
  EXPECT_THAT(with("\"train\"", "\"root\""), HasSubstr("scopes may list"));
  EXPECT_THAT(with("\"generate\",\"train\"", ""), HasSubstr("scopes must name"));
  EXPECT_THAT(with("1970", "soon"), HasSubstr("expires must be a time"));
  EXPECT_THAT(with("\"sha256\":\"", "\"sha256\":\"Z"), HasSubstr("sha256 must be 64"));
  EXPECT_THAT(with("\"salt\":\"", "\"salt\":\"\",\"pepper\":\""), HasSubstr("pepper"));
  EXPECT_EQ(error(""), "");
}

TEST(MakeToken, RefusesWhatTheFileWouldRefuse) {
  EXPECT_FALSE(MakeToken("", "acme", {Scope::kTrain}, std::nullopt).ok());
  EXPECT_FALSE(MakeToken("ci", "", {Scope::kTrain}, std::nullopt).ok());
  EXPECT_FALSE(MakeToken("ci", "acme", {}, std::nullopt).ok());
}

}  // namespace
}  // namespace denoise
