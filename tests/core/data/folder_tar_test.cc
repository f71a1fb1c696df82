#include "core/data/folder_tar.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/core/data/upload_testing.h"
#include "tests/support/subprocess.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class FolderTarTest : public testing::Test {
 protected:
  void Add(const std::string& name, std::string_view bytes) { WriteFile(root_ / name, bytes); }

  std::unique_ptr<FolderTar> Open() {
    auto tar = FolderTar::Open(root_);
    EXPECT_TRUE(tar.ok()) << tar.status();
    return tar.ok() ? *std::move(tar) : nullptr;
  }

  std::string Bytes() {
    const auto tar = Open();
    const auto bytes = ReadString(*tar, size_t{1} << 30);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(static_cast<int64_t>(bytes->size()), tar->size());
    return *bytes;
  }

  TempDir folder_;
  const fs::path root_ = folder_.path() / "emoji";
};

TEST_F(FolderTarTest, HoldsThePicturesSortedByName) {
  Add("food/b.png", "bb");
  Add("food/a.JPG", std::string(1000, 'a'));
  Add("animals/ü.webp", std::string(512, 'u'));
  Add("food-2/c.jpeg", "");
  const auto entries = ReadUpload(UploadFormat::kTar, Bytes());
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_THAT(Names(*entries),
              ElementsAre("animals/ü.webp", "food-2/c.jpeg", "food/a.JPG", "food/b.png"));
  EXPECT_EQ((*entries)[0].bytes, std::string(512, 'u'));
  EXPECT_EQ((*entries)[2].bytes, std::string(1000, 'a'));
  EXPECT_EQ((*entries)[3].bytes, "bb");
}

TEST_F(FolderTarTest, SkipsAndCountsOtherFiles) {
  Add("a.png", "1");
  Add("readme.txt", "x");
  Add("png", "x");
  Add(".hidden.png", "x");
  Add(".git/a.png", "x");
  fs::create_symlink(root_ / "a.png", root_ / "link.png");
  fs::create_directory_symlink(root_, root_ / "loop");
  fs::create_symlink("nowhere", root_ / "lost.png");
  const auto tar = Open();
  ASSERT_NE(tar, nullptr);
  EXPECT_EQ(tar->pictures(), 2);
  EXPECT_EQ(tar->other_files(), 4);
  EXPECT_EQ(tar->other_example(), "\"loop\" (a link to a folder, which is not followed)");
  const auto entries = ReadUpload(UploadFormat::kTar, Bytes());
  EXPECT_THAT(Names(*entries), ElementsAre("a.png", "link.png"));
  EXPECT_EQ((*entries)[1].bytes, "1");
}

TEST_F(FolderTarTest, ALinkThatLeadsToNoFileIsLeftOut) {
  Add("a.png", "1");
  fs::create_symlink("nowhere", root_ / "lost.png");
  EXPECT_EQ(Open()->other_example(), "\"lost.png\" (a link that leads to no file)");
  fs::remove(root_ / "lost.png");
  fs::create_symlink("itself.png", root_ / "itself.png");
  EXPECT_EQ(Open()->other_example(), "\"itself.png\" (a link that leads to no file)");
}

TEST_F(FolderTarTest, ResumesAtAnyOffset) {
  Add("b/" + std::string(150, 'n') + ".png", std::string(700, '1'));
  Add("b/2.png", std::string(512, '2'));
  Add("b/3.png", "");
  const std::string whole = Bytes();
  const auto tar = Open();
  for (int64_t offset = tar->size(); offset >= 0; offset -= 7) {
    tar->Seek(offset);
    const auto rest = ReadString(*tar, whole.size());
    ASSERT_TRUE(rest.ok()) << rest.status();
    ASSERT_TRUE(*rest == whole.substr(static_cast<size_t>(offset))) << offset;
  }
}

TEST_F(FolderTarTest, GivesTheSameBytesInSmallReads) {
  Add("a.png", std::string(700, '1'));
  Add("b.png", "2");
  const std::string whole = Bytes();
  const auto tar = Open();
  std::string pieces;
  char piece[13];
  for (;;) {
    const auto size = tar->Read(piece);
    ASSERT_TRUE(size.ok()) << size.status();
    if (*size == 0) break;
    pieces.append(piece, *size);
  }
  EXPECT_TRUE(pieces == whole);
}

TEST_F(FolderTarTest, TimesAndOwnersDoNotMatter) {
  Add("a.png", "1");
  const std::string before = Bytes();
  fs::last_write_time(root_ / "a.png", fs::file_time_type::clock::now() - std::chrono::hours(24));
  fs::permissions(root_ / "a.png", fs::perms::owner_all);
  EXPECT_TRUE(Bytes() == before);
}

TEST_F(FolderTarTest, NoticesAFileThatChangesMeanwhile) {
  for (const std::string after : {"12", "1234"}) {
    Add("a.png", "123");
    const auto tar = Open();
    Add("a.png", after);
    ExpectStatus(ReadString(*tar, 10'000).status(), absl::StatusCode::kFailedPrecondition,
                 "\"a.png\" has changed");
  }
  Add("a.png", "123");
  const auto tar = Open();
  fs::remove(root_ / "a.png");
  ExpectStatus(ReadString(*tar, 10'000).status(), absl::StatusCode::kFailedPrecondition,
               "\"a.png\" has changed");
}

TEST_F(FolderTarTest, RefusesBeforehandWhatTheServerWouldRefuse) {
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kNotFound, "is not a folder");
  Add("readme.txt", "x");
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kInvalidArgument, "no picture");
}

TEST_F(FolderTarTest, ABadNameLeavesOutItsFileAlone) {
  Add("cats/1.png", "1");
  Add("cats/caf\xe9.png", "2");
  Add("cats/a\nb.png", "3");
  Add("dogs/1.png", "4");
  const auto tar = Open();
  ASSERT_NE(tar, nullptr);
  EXPECT_EQ(tar->pictures(), 2);
  EXPECT_EQ(tar->other_files(), 2);
  EXPECT_EQ(tar->other_example(), "\"cats/a\\nb.png\" (its name holds control characters)");
}

// As the server does with a tar of the same files.
TEST_F(FolderTarTest, AClassOfWhichNothingIsLeftIsRefused) {
  Add("cats/1.png", Png(1));
  Add("birds/1.png", Png(2));
  Add("dogs/0.gif", "GIF89a");
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kInvalidArgument,
               "the folder \"dogs\" holds no readable picture (the first file, \"0.gif\": a GIF); "
               "remove the folder or fix its files");
  fs::remove_all(root_ / "birds");
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kInvalidArgument, "\"dogs\"");
  Add("cats/notes/breeds.txt", "x");  // no class
  Add("licence.txt", "x");
  fs::remove_all(root_ / "dogs");
  EXPECT_TRUE(FolderTar::Open(root_).ok());
}

TEST_F(FolderTarTest, AClassThatIsALinkOrHoldsNoPlainFileIsRefused) {
  Add("cats/1.png", Png(1));
  Add("birds/1.png", Png(2));
  Add("elsewhere.txt", "x");
  const fs::path elsewhere = folder_.path() / "dogs";
  WriteFile(elsewhere / "1.png", Png(3));
  fs::create_directory_symlink(elsewhere, root_ / "dogs");
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kInvalidArgument,
               "the folder \"dogs\" holds no readable picture (a link to a folder, which is not "
               "followed); remove the folder or fix its files");
  fs::remove(root_ / "dogs");
  fs::create_directory(root_ / "dogs");
  ASSERT_EQ(mkfifo((root_ / "dogs/1.png").c_str(), 0600), 0);
  ExpectStatus(FolderTar::Open(root_).status(), absl::StatusCode::kInvalidArgument,
               "the folder \"dogs\" holds no readable picture (the first file, \"1.png\": not a "
               "plain file)");
}

// Root reads everything, so it is asked to do without that while this lives.
class WithoutPrivileges {
 public:
  WithoutPrivileges() {
    EXPECT_EQ(syscall(SYS_capget, &header_, before_), 0);
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {before_[0], before_[1]};
    none[0].effective = none[1].effective = 0;
    EXPECT_EQ(syscall(SYS_capset, &header_, none), 0);
  }
  ~WithoutPrivileges() { EXPECT_EQ(syscall(SYS_capset, &header_, before_), 0); }

 private:
  __user_cap_header_struct header_ = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3] = {};
};

TEST_F(FolderTarTest, WhatCannotBeReadIsNamedWithTheReason) {
  Add("cats/1.png", Png(1));
  Add("cats/notes", "x");
  Add("dogs/1.png", Png(2));
  const struct {
    std::string path;
    fs::perms permissions;
    std::string message;
  } cases[] = {
      {"cats/1.png", fs::perms::none, "cannot read \"cats/1.png\": "},
      {"cats/notes", fs::perms::none, "cannot read \"cats/notes\": "},
      {"dogs", fs::perms::none, "cannot read \"dogs\": "},
      {"dogs", fs::perms::owner_read, "cannot read \"dogs/1.png\": "},
  };
  for (const auto& [path, permissions, message] : cases) {
    const fs::perms before = fs::status(root_ / path).permissions();
    fs::permissions(root_ / path, permissions);
    {
      const WithoutPrivileges without;
      const absl::Status status = FolderTar::Open(root_).status();
      ExpectStatus(status, absl::StatusCode::kFailedPrecondition, message);
      ExpectStatus(status, absl::StatusCode::kFailedPrecondition, "Permission denied");
    }
    fs::permissions(root_ / path, before);
  }
  const auto tar = Open();
  fs::permissions(root_ / "cats/1.png", fs::perms::none);
  const WithoutPrivileges without;
  ExpectStatus(ReadString(*tar, 10'000).status(), absl::StatusCode::kFailedPrecondition,
               "cannot read \"cats/1.png\": cannot be opened: Permission denied");
}

TEST_F(FolderTarTest, FilesAreToldByTheirFirstBytes) {
  for (const char* name : {"a.jfif", "b.jpe", "c.JPG", "d", "e.txt", "f.jpg.download"}) {
    Add(std::string("jpeg/") + name, *EncodeImage(TestImage(2, 2, 3), ImageFormat::kJpeg));
  }
  Add("others/a.dat", Png(1));
  Add("others/b", *EncodeImage(TestImage(2, 2, 3), ImageFormat::kWebp));
  for (const char* name : {"0.bmp", "1.tiff", "2.heic", "3.avif"}) {
    Add(std::string("others/") + name, std::string(name) == "0.bmp" ? "BM12" : "unknown");
  }
  const auto tar = Open();
  ASSERT_NE(tar, nullptr);
  EXPECT_EQ(tar->pictures(), 8);
  EXPECT_EQ(tar->other_files(), 4);
  EXPECT_EQ(tar->other_example(), "\"others/0.bmp\" (a BMP)");
}

// The name of a class and that of a file, of every length that a file system has, and so every
// place where the slash between them can fall in a header.
TEST_F(FolderTarTest, NamesOfEveryLengthAreReadBack) {
  const std::string picture = Png(1);
  for (size_t length = 1; length <= 255; ++length) {
    fs::remove_all(root_);
    const std::string folder(length, 'd');
    Add(folder + "/1.png", picture);
    Add(folder + "/" + std::string(256 - length, 'f'), picture);
    Add("e/1.png", picture);
    const auto entries = ReadUpload(UploadFormat::kTar, Bytes());
    ASSERT_TRUE(entries.ok()) << length << ": " << entries.status();
    ASSERT_EQ(entries->size(), 3u) << length;
    for (const UploadEntry& entry : *entries) {
      EXPECT_EQ(entry.problem, "") << length;
      EXPECT_EQ(entry.bytes, picture) << length;
      EXPECT_TRUE(entry.folder == folder || entry.folder == "e") << length;
    }
  }
}

// What other programs write of such names is read as well.
TEST_F(FolderTarTest, NamesOfEveryLengthFromGnuTarAreReadBack) {
  for (const char* format : {"gnu", "posix", "ustar"}) {
    for (const size_t length : {1u, 98u, 99u, 100u, 101u, 150u}) {
      fs::remove_all(root_);
      const std::string folder(length, 'd');
      if (length >= 100 && std::string_view(format) == "ustar") continue;  // which cannot hold it
      Add(folder + "/1.png", "x");
      const auto tar = RunProcess({"/bin/tar", std::string("--format=") + format, "-cf",
                                   folder_.path() / "set.tar", "-C", root_, folder},
                                  absl::Seconds(20));
      ASSERT_TRUE(tar.ok() && tar->exit_status == kExitedCleanly) << tar->error;
      const auto entries = ReadUpload(UploadFormat::kTar, ReadFile(folder_.path() / "set.tar"));
      ASSERT_TRUE(entries.ok()) << format << " " << length << ": " << entries.status();
      EXPECT_THAT(Names(*entries), ElementsAre(folder + "/1.png"));
    }
  }
}

TEST_F(FolderTarTest, GnuTarReadsIt) {
  const std::string long_name = std::string(120, 'd') + "/" + std::string(60, 'n') + ".png";
  Add("cats/1.png", "one");
  Add(long_name, std::string(5000, '2'));
  WriteFile(folder_.path() / "set.tar", Bytes());
  const fs::path unpacked = folder_.path() / "unpacked";
  fs::create_directory(unpacked);
  const auto tar = RunProcess({"/bin/tar", "-xf", folder_.path() / "set.tar", "-C", unpacked},
                              absl::Seconds(20));
  ASSERT_TRUE(tar.ok() && tar->exit_status == kExitedCleanly) << tar->error;
  EXPECT_EQ(tar->error, "");
  EXPECT_EQ(ReadFile(unpacked / "cats/1.png"), "one");
  EXPECT_EQ(ReadFile(unpacked / long_name), std::string(5000, '2'));
}

}  // namespace
}  // namespace denoise
