// Data of any bytes, read back as the standard says that readers do
// (html.spec.whatwg.org, section 9.2.6).
#include "server/http/openai/server_sent_event.h"

#include <string>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

// Lines end with CR, LF, or both.
std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && i > 0 && text[i - 1] == '\r') continue;
    if (text[i] == '\n' || text[i] == '\r') {
      lines.emplace_back();
    } else {
      lines.back() += text[i];
    }
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = AsText(data, size);
  std::vector<std::string> expected = {"event: error"};
  for (const std::string& line : LinesOf(text)) expected.push_back("data: " + line);
  expected.insert(expected.end(), {"", ""});  // an empty line ends the event
  Require(LinesOf(openai::ServerSentEvent("error", text)) == expected,
          "an event is one event, with all lines of its data");
  return 0;
}

}  // namespace denoise
