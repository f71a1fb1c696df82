#include "tests/e2e/small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/file_descriptor.h"

namespace denoise {
namespace {

constexpr char kFiller[] = "filler";

bool Write(const char* path, const std::string& text) {
  const FileDescriptor file(open(path, O_WRONLY | O_CLOEXEC));
  return write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// A namespace of mounts: root's own, or one within a namespace where this user is root.
bool EnterOwnMounts() {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (user == 0) return unshare(CLONE_NEWNS) == 0;
  return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
         Write("/proc/self/uid_map", absl::StrCat("0 ", user, " 1")) &&
         Write("/proc/self/setgroups", "deny") &&
         Write("/proc/self/gid_map", absl::StrCat("0 ", group, " 1"));
}

}  // namespace

std::unique_ptr<SmallDisk> SmallDisk::Mount(int64_t bytes) {
  std::unique_ptr<SmallDisk> disk(new SmallDisk);
  const std::string options = absl::StrCat("size=", bytes);
  disk->mounted_ =
      EnterOwnMounts() && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      mount("none", disk->path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
  return disk->mounted_ ? std::move(disk) : nullptr;
}

SmallDisk::~SmallDisk() {
  if (mounted_) umount2(path().c_str(), MNT_DETACH);
}

void SmallDisk::Fill(int64_t bytes_left) {
  const FileDescriptor filler(
      open((path() / kFiller).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  // What others write meanwhile may leave less than there was: then it takes another try.
  for (int64_t room = Room() - bytes_left; room > 0; room = Room() - bytes_left) {
    if (posix_fallocate(filler.get(), size_, room) == 0) size_ += room;
  }
}

void SmallDisk::MakeRoom() {
  std::filesystem::remove(path() / kFiller);
  size_ = 0;
}

int64_t SmallDisk::Room() const {
  struct statvfs disk;
  if (statvfs(path().c_str(), &disk) != 0) return 0;
  return static_cast<int64_t>(disk.f_bavail * disk.f_frsize);
}

}  // namespace denoise
