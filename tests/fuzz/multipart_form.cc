#include "server/http/openai/multipart_form.h"

#include "tests/fuzz/fuzz_target.h"

namespace denoise {

// The first line is the Content-Type; what follows is the body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = AsText(data, size);
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return 0;
  const std::string_view body = text.substr(end + 1);
  const auto parts = openai::ReadMultipartForm(text.substr(0, end), body);
  if (!parts.ok()) {
    Require(absl::IsInvalidArgument(parts.status()), "what is no form is INVALID_ARGUMENT");
    return 0;
  }
  const char* reached = body.data();
  for (const openai::FormPart& part : *parts) {
    Require(part.data.data() > reached, "parts follow each other");
    reached = part.data.data() + part.data.size();
    Require(reached < body.data() + body.size(), "parts lie within the body");
  }
  Require(parts->size() <= 64, "the number of parts is limited");
  return 0;
}

}  // namespace denoise
