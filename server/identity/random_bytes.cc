#include "server/identity/random_bytes.h"

#include <openssl/rand.h>

#include <stdexcept>

namespace denoise {

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  auto* const data = reinterpret_cast<unsigned char*>(bytes.data());
  if (RAND_bytes(data, static_cast<int>(count)) != 1) {
    throw std::runtime_error("the system has no random bytes");
  }
  return bytes;
}

}  // namespace denoise
