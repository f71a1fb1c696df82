// What a person at a terminal sees.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kHideCursor[] = "\x1b[?25l";
constexpr char kShowCursor[] = "\x1b[?25h";
constexpr char kSaveCursor[] =
    "\x1b"
    "7";

struct Terminal {
  std::string name = "xterm-256color";
  unsigned short columns = 100;
  unsigned short rows = 30;
};

class CliTerminalTest : public testing::Test {
 protected:
  // Runs `generate` in a terminal of its own; everything the terminal was sent.
  std::string Generate(const std::vector<std::string>& more, const Terminal& terminal = {}) {
    std::vector<std::string> arguments = {DENOISE_BINARY,  "generate",
                                          "--server",      server_.address(),
                                          "--model",       "shapes",
                                          "--class-label", "circle",
                                          "--count",       "3",
                                          "--frames",      "1",
                                          "--out",         folder_.path().string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);

    winsize size{
        .ws_row = terminal.rows, .ws_col = terminal.columns, .ws_xpixel = 0, .ws_ypixel = 0};
    setenv("TERM", terminal.name.c_str(), 1);
    setenv("COLORTERM", "truecolor", 1);
    int screen = -1;
    const pid_t child = forkpty(&screen, nullptr, nullptr, &size);
    if (child == 0) {
      execv(argv[0], argv.data());
      _exit(127);
    }
    const std::string text = ReadToEnd(screen);
    int status = 0;
    waitpid(child, &status, 0);
    close(screen);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << text;
    return text;
  }

  FakeServer server_;
  TempDir folder_;

 private:
  static std::string ReadToEnd(int fd) {
    std::string text;
    char buffer[4096];
    for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;) text.append(buffer, count);
    return text;
  }
};

TEST_F(CliTerminalTest, ProgressIsDrawnInPlaceAndTheTerminalGivenBack) {
  server_.step_time = absl::Milliseconds(80);
  const std::string text = Generate({});
  EXPECT_THAT(text, AllOf(HasSubstr(kHideCursor), HasSubstr("queued, 2 ahead"),
                          HasSubstr("denoising "), HasSubstr("12/12 steps  3/3 images")));
  EXPECT_LT(text.rfind(kShowCursor), text.find("contact-sheet.png"));
  EXPECT_GT(text.rfind(kShowCursor), text.rfind(kHideCursor));
}

TEST_F(CliTerminalTest, PicturesAreShownWhereTheyCanBe) {
  const bool pictures = DENOISE_SHOWS_PICTURES;
  const std::string text = Generate({});
  EXPECT_EQ(text.find(kSaveCursor) != std::string::npos, pictures);
  EXPECT_EQ(text.find("\x1b[38;2;") != std::string::npos, pictures) << "no colours";
  EXPECT_THAT(Generate({}, {.name = "dumb"}), Not(HasSubstr(kSaveCursor)));
  EXPECT_THAT(Generate({}, {.rows = 5}), Not(HasSubstr(kSaveCursor)));
  EXPECT_THAT(Generate({"--no-picture"}),
              AllOf(Not(HasSubstr(kSaveCursor)), HasSubstr("denoised")));
}

TEST_F(CliTerminalTest, LinesForScriptsAreNotGarbled) {
  const std::string text = Generate({"--json"});
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace denoise
