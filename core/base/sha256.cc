#include "core/base/sha256.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <stdexcept>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "core/base/file_descriptor.h"
#include "core/base/file_system_error.h"
#include "core/base/status_macros.h"

namespace denoise {

struct Sha256::Context {
  EVP_MD_CTX* handle = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(handle); }
};

namespace {

// Fails only when out of memory, or if the system's library forbids SHA-256.
void Check(int result) {
  if (result != 1) throw std::runtime_error("SHA-256 is not available");
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  Check(context_->handle != nullptr);
  Check(EVP_DigestInit_ex(context_->handle, EVP_sha256(), nullptr));
}

Sha256::~Sha256() = default;

void Sha256::AddPart(std::string_view name, std::string_view content) {
  BeginPart(name, content.size());
  Update(content);
}

void Sha256::BeginPart(std::string_view name, size_t size) {
  AddSize(name.size());
  Update(name);
  AddSize(size);
}

std::string Sha256::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  Check(EVP_DigestFinal_ex(context_->handle, digest, &size));
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
}

void Sha256::Update(std::string_view bytes) {
  Check(EVP_DigestUpdate(context_->handle, bytes.data(), bytes.size()));
}

void Sha256::AddSize(size_t size) {
  char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(uint64_t{size} >> (8 * i));
  Update({bytes, sizeof(bytes)});
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         const std::function<absl::Status()>& check_cancelled) {
  ASSIGN_OR_RETURN(const RegularFile file, OpenRegularFile(path));
  Sha256 hash;
  std::string buffer(size_t{1} << 18, '\0');
  for (;;) {
    RETURN_IF_ERROR(check_cancelled());
    const ssize_t count = read(file.descriptor.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FileSystemError(errno, "cannot be read");
    if (count == 0) return hash.Finish();
    hash.Update(std::string_view(buffer).substr(0, static_cast<size_t>(count)));
  }
}

}  // namespace denoise
