#include "server/connections/memory_guard.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/base/retry.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

constexpr int64_t kMib = 1 << 20;

class MemoryGuardTest : public testing::Test {
 protected:
  void Check() { guard_.Check(now_ += absl::Seconds(10)); }

  absl::Time now_ = absl::UnixEpoch();
  int64_t resident_ = 200 * kMib;
  int64_t freeable_ = 0;  // of it
  int trims_ = 0;
  MemoryGuard guard_{{.limit_bytes = 1000 * kMib,
                      .resident_bytes = [this] { return resident_; },
                      .trim =
                          [this] {
                            ++trims_;
                            resident_ -= freeable_;
                            freeable_ = 0;
                          }}};
};

TEST_F(MemoryGuardTest, RefusesNewWorkWhileLittleIsLeft) {
  Check();
  EXPECT_TRUE(guard_.Admit().ok());
  resident_ = 901 * kMib;
  Check();
  EXPECT_TRUE(absl::IsUnavailable(guard_.Admit()));
  EXPECT_TRUE(GetRetryDelay(guard_.Admit()).has_value());
  resident_ = 800 * kMib;
  Check();
  EXPECT_TRUE(guard_.Admit().ok());
}

TEST_F(MemoryGuardTest, MemoryThatOnlyTheAllocatorHoldsIsGivenBackFirst) {
  resident_ = 950 * kMib;
  freeable_ = 500 * kMib;
  Check();
  EXPECT_EQ(trims_, 1);
  EXPECT_TRUE(guard_.Admit().ok());
}

TEST_F(MemoryGuardTest, MemoryIsGivenBackAfterItGrewAndNotOtherwise) {
  for (int i = 0; i < 5; ++i) Check();
  EXPECT_EQ(trims_, 0);
  resident_ = 400 * kMib;
  freeable_ = 150 * kMib;
  for (int i = 0; i < 5; ++i) Check();
  EXPECT_EQ(trims_, 1);
  EXPECT_EQ(resident_, 250 * kMib);
}

TEST(MemoryLimit, IsTheLeastThatHolds) {
  const TempDir root;
  const auto write = [&root](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root.path() / path).parent_path());
    std::ofstream(root.path() / path) << text;
  };
  const std::string at = root.path().string() + "/";
  write("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
  EXPECT_EQ(MemoryLimit(0, at), 2 * kMib);
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
  EXPECT_EQ(MemoryLimit(0, at), kMib);
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(MemoryLimit(0, at), kMib);
  write("sys/fs/cgroup/memory.max", "524288\n");
  EXPECT_EQ(MemoryLimit(0, at), kMib / 2);
  write("sys/fs/cgroup/memory.max", "9223372036854771712\n");
  EXPECT_EQ(MemoryLimit(0, at), 2 * kMib);
  EXPECT_EQ(MemoryLimit(7 * kMib, at), 7 * kMib);
}

TEST(ResidentBytes, AreThoseOfThisProcess) {
  EXPECT_GT(ResidentBytes(), kMib);
  EXPECT_LT(ResidentBytes(), 16384 * kMib);
}

}  // namespace
}  // namespace denoise
