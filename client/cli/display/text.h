// Text that is fit for a terminal.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace denoise {

// Text from a server with its control characters written as escapes ("\x1b"), so that it can
// neither move the cursor nor pass for more lines than it is. UTF-8 stays as it is except for the
// control characters U+0080 to U+009F; bytes that are not UTF-8 are escaped.
std::string Printable(std::string_view text);

// Rows of equal length, the first of which names the columns. Each column is as wide as its widest
// text; the last one is ragged. Without a newline at the end.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);
// The same in Markdown.
std::string FormatMarkdownTable(const std::vector<std::vector<std::string>>& rows);

// At most `width` columns of UTF-8: `head`, a bar as long as there is room, `tail`. Without room
// for a bar, the text alone.
std::string LineWithBar(const std::string& head, double fraction, const std::string& tail,
                        int width);

// "42 s", "17 min", "3 h 5 min".
std::string TimeText(absl::Duration duration);
double SecondsOf(const google::protobuf::Duration& duration);

// "812 B", "1.4 kB", "23.0 MB".
std::string BytesText(int64_t bytes);

// "1 image", "2 images".
std::string Plural(int64_t count, const std::string& noun);

// A line of a summary that says what a file is, beginning with a newline; empty for an empty path.
std::string FileLine(const std::string& path, const std::string& what);

}  // namespace denoise
