#include "tests/support/temp_dir.h"

#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

namespace denoise {
namespace {

[[noreturn]] void Fail(const char* what, const std::filesystem::path& path) {
  std::fprintf(stderr, "%s %s\n", what, path.c_str());
  std::abort();
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "denoise-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) Fail("cannot create", pattern);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;  // a leftover is no reason to fail a test that has passed
  std::filesystem::remove_all(path_, ignored);
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("cannot read", path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) Fail("cannot write", path);
}

}  // namespace denoise
