#include "core/base/sha256.h"

#include <gtest/gtest.h>

#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

// FIPS 180-4's examples.
constexpr char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kOfAMillionAs[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, PiecesMakeTheMessage) {
  Sha256 hash;
  hash.Update("a");
  hash.Update("");
  hash.Update("bc");
  EXPECT_EQ(hash.Finish(), kOfAbc);
}

TEST(Sha256, DistinguishesHowPartsAreDivided) {
  Sha256 one, other;
  one.AddPart("ab", "c");
  other.AddPart("a", "bc");
  EXPECT_NE(one.Finish(), other.Finish());
}

TEST(Sha256OfFile, HashesTheContent) {
  const TempDir folder;
  WriteFile(folder.path() / "file", std::string(1'000'000, 'a'));
  const auto hash = Sha256OfFile(folder.path() / "file");
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, kOfAMillionAs);
  ExpectStatus(Sha256OfFile(folder.path() / "none").status(), absl::StatusCode::kNotFound, "");
  ExpectStatus(Sha256OfFile(folder.path()).status(), absl::StatusCode::kInvalidArgument,
               "not a regular file");
}

TEST(Sha256OfFile, CanBeCancelled) {
  const TempDir folder;
  WriteFile(folder.path() / "file", std::string(1'000'000, 'a'));
  int pieces = 0;
  const auto check_cancelled = [&] {
    return ++pieces < 2 ? absl::OkStatus() : absl::AbortedError("enough");
  };
  EXPECT_EQ(Sha256OfFile(folder.path() / "file", check_cancelled).status(),
            absl::AbortedError("enough"));
  EXPECT_EQ(pieces, 2);
}

}  // namespace
}  // namespace denoise
