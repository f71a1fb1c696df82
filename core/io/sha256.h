// SHA-256 of named parts. Internal to core/io.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace denoise {

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  // Lengths are hashed as well: no two lists of parts run together to the same bytes.
  void AddPart(std::string_view name, std::string_view content);

  // Lower-case hexadecimal; ends the hash.
  std::string Finish();

 private:
  void Update(std::string_view bytes);
  void AddSized(std::string_view bytes);

  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace denoise
