#include "core/device/host_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

class HostMemoryTest : public testing::Test {
 protected:
  HostMemoryTest() {
    std::filesystem::create_directories(folder_.path() / "proc");
    std::filesystem::create_directories(folder_.path() / "sys/fs/cgroup");
    WriteFile(folder_.path() / "proc/meminfo",
              "MemTotal:       8000 kB\nMemFree:        1000 kB\nMemAvailable:   6000 kB\n");
  }

  void WriteGroup(const std::string& limit) {
    const auto group = folder_.path() / "sys/fs/cgroup";
    WriteFile(group / "memory.max", limit);
    WriteFile(group / "memory.current", "3000000\n");
    WriteFile(group / "memory.stat", "anon 1\nactive_file 400000\ninactive_file 100000\n");
  }

  std::optional<DeviceMemory> Memory() const { return HostMemory(folder_.path().string() + "/"); }

  const TempDir folder_;
};

TEST_F(HostMemoryTest, IsThatOfTheMachine) {
  ASSERT_TRUE(Memory());
  EXPECT_EQ(Memory()->free_bytes, 6000 << 10);
  EXPECT_EQ(Memory()->total_bytes, 8000 << 10);
  WriteGroup("max\n");
  EXPECT_EQ(Memory()->free_bytes, 6000 << 10);
}

TEST_F(HostMemoryTest, IsThatOfTheControlGroupWhereItHasLess) {
  WriteGroup("4000000\n");
  EXPECT_EQ(Memory()->free_bytes, 1500000) << "cached files count as free";
  EXPECT_EQ(Memory()->total_bytes, 4000000);
}

TEST_F(HostMemoryTest, IsNotKnownWithoutProc) {
  std::filesystem::remove(folder_.path() / "proc/meminfo");
  EXPECT_FALSE(Memory());
}

TEST(HostMemory, IsKnownHere) {
  const auto memory = HostMemory();
  ASSERT_TRUE(memory);
  EXPECT_GT(memory->free_bytes, 0);
  EXPECT_LT(memory->free_bytes, memory->total_bytes);
}

}  // namespace
}  // namespace denoise
