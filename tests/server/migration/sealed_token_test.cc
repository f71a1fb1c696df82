#include "server/migration/sealed_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace denoise {
namespace {

using ::testing::StartsWith;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr TokenScope kScope{.purpose = "handover", .tenant = "studio"};

TokenKeys Keys(char digit) { return *ParseTokenKeys(std::string(64, digit)); }

std::string Seal(std::string_view content, const TokenKeys& keys = Keys('1')) {
  return SealToken(content, kScope, kNow + absl::Minutes(1), keys);
}

absl::StatusOr<std::string> Open(std::string_view token, const TokenScope& scope = kScope,
                                 const TokenKeys& keys = Keys('1')) {
  return OpenToken(token, scope, kNow, keys);
}

bool IsRefused(const absl::StatusOr<std::string>& opened) {
  return absl::IsInvalidArgument(opened.status());
}

TEST(SealedToken, OpensToWhatWasSealed) {
  for (const std::string& content : {std::string(), std::string("a"), std::string(100'000, '\0')}) {
    const std::string token = Seal(content);
    EXPECT_EQ(token.size(), content.size() + kTokenOverheadBytes);
    ASSERT_TRUE(Open(token).ok()) << Open(token).status();
    EXPECT_EQ(*Open(token), content);
  }
}

TEST(SealedToken, HidesItsContentAndIsNeverTheSameTwice) {
  const std::string content = "a prompt that nobody else reads";
  EXPECT_EQ(Seal(content).find("prompt"), std::string::npos);
  EXPECT_NE(Seal(content), Seal(content));
}

TEST(SealedToken, OpensOnlyInItsScope) {
  const std::string token = Seal("content");
  EXPECT_TRUE(IsRefused(Open(token, {.purpose = "handover", .tenant = "other"})));
  EXPECT_TRUE(IsRefused(Open(token, {.purpose = "handover", .tenant = ""})));
  EXPECT_TRUE(IsRefused(Open(token, {.purpose = "pause", .tenant = "studio"})));
  EXPECT_TRUE(IsRefused(Open(token, {.purpose = "handovers", .tenant = "tudio"})))
      << "the same letters in a row";
}

TEST(SealedToken, AnyKeyOfTheFileOpensAndTheFirstSeals) {
  const TokenKeys old_keys = Keys('1'), new_keys = Keys('2');
  const TokenKeys both = {new_keys.front(), old_keys.front()};
  EXPECT_TRUE(Open(Seal("content", old_keys), kScope, both).ok());
  EXPECT_TRUE(Open(Seal("content", both), kScope, new_keys).ok());
  EXPECT_TRUE(IsRefused(Open(Seal("content", both), kScope, old_keys)));
}

TEST(SealedToken, TwoKeysMayHaveOneId) {
  TokenKeys both = {Keys('2').front(), Keys('1').front()};
  both.front().id = both.back().id;
  EXPECT_TRUE(Open(Seal("content"), kScope, both).ok());
}

TEST(SealedToken, Expires) {
  const std::string token = Seal("content");
  const auto opened_at = [&](absl::Duration later) {
    return OpenToken(token, kScope, kNow + later, Keys('1')).status();
  };
  EXPECT_TRUE(opened_at(absl::Minutes(1)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(opened_at(absl::Minutes(1) + absl::Microseconds(1))));
}

TEST(SealedToken, ARefusalSaysWhatIsWrongWithIt) {
  const auto why = [](std::string_view token, const TokenScope& scope = kScope) {
    return std::string(Open(token, scope).status().message());
  };
  const std::string token = Seal("content"), picture = "\x89PNG\r\n" + std::string(500, 'x');
  for (const std::string& other : {std::string(), picture, token.substr(0, 20)}) {
    EXPECT_THAT(why(other),
                StartsWith("is not a token: it must be what `denoise generations pause`"));
  }
  EXPECT_THAT(why(Seal("content", Keys('2'))),
              StartsWith("was sealed with a key that this server"));
  const std::string damaged = why(token.substr(0, token.size() - 1));
  EXPECT_THAT(damaged,
              StartsWith("is damaged, cut short, or belongs to another tenant. Send it as"));
  EXPECT_EQ(why(token, {.purpose = "handover", .tenant = "other"}), damaged)
      << "a tenant does not learn which tokens others have";
}

// What an attacker can do to tokens that he has.
class Mutation {
 public:
  explicit Mutation(uint64_t seed) : random_(seed) {}

  std::string Apply(const std::string& token, const std::string& other) {
    switch (Below(5)) {
      case 0:
        return WithFlippedBits(token);
      case 1:
        return token.substr(0, Below(token.size()));
      case 2:
        return token + RandomBytes(1 + Below(64));
      case 3:
        return Spliced(token, other);
      default:
        return WithOverwrittenPart(token);
    }
  }

 private:
  size_t Below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(random_); }

  std::string RandomBytes(size_t size) {
    std::string bytes(size, '\0');
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(Below(256)); });
    return bytes;
  }

  std::string WithFlippedBits(std::string token) {
    for (size_t flips = 1 + Below(4); flips > 0; --flips) {
      token[Below(token.size())] ^= static_cast<char>(1 << Below(8));
    }
    return token;
  }

  std::string Spliced(const std::string& token, const std::string& other) {
    const size_t cut = 1 + Below(token.size() - 1);
    return token.substr(0, cut) + other.substr(cut);
  }

  std::string WithOverwrittenPart(std::string token) {
    const size_t begin = Below(token.size());
    const std::string part = RandomBytes(1 + Below(std::min<size_t>(token.size() - begin, 32)));
    return token.replace(begin, part.size(), part);
  }

  std::mt19937_64 random_;
};

TEST(SealedToken, NoneOfAHundredThousandForgeriesOpens) {
  const std::string content = "a request, its version and the state of its images";
  const std::string token = Seal(content), other = Seal(content);
  int forgeries = 0;
  for (uint64_t seed = 0; forgeries < 100'000; ++seed) {
    const std::string forged = Mutation(seed).Apply(token, other);
    if (forged == token || forged == other) continue;  // a mutation may undo itself
    ++forgeries;
    ASSERT_TRUE(IsRefused(Open(forged))) << "seed " << seed;
  }
}

TEST(SealedToken, EveryBitOfItIsAuthenticated) {
  const std::string token = Seal("content");
  for (size_t bit = 0; bit < 8 * token.size(); ++bit) {
    std::string forged = token;
    forged[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_TRUE(IsRefused(Open(forged))) << "bit " << bit;
  }
}

}  // namespace
}  // namespace denoise
