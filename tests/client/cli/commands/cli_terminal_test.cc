// What a person at a terminal sees.
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "core/image/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/fake_training.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
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
    std::vector<std::string> arguments = {
        "generate", "--model", "shapes", "--class-label",         "circle",     "--count", "3",
        "--frames", "1",       "--out",  folder_.path().string(), "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(std::move(arguments), terminal);
  }

  // The same for a watch of a job with these events.
  std::string Watch(std::vector<v1::TrainingEvent> events, const Terminal& terminal = {}) {
    training_.get_job = [](const auto& request, auto& job) {
      job.set_name(request.name());
      job.set_state(v1::TrainingJob::SUCCEEDED);
      job.mutable_training()->set_dataset("datasets/emoji");
      job.set_steps_total(20);
      return grpc::Status::OK;
    };
    training_.watch_job = [events](auto&, const auto&, auto& writer) {
      for (const v1::TrainingEvent& event : events) writer.Write(event);
      return grpc::Status::OK;
    };
    return Run({"train", "watch", "7"}, terminal);
  }

  // Everything the terminal was sent. Ctrl-C is typed once that includes `interrupt_at`, unless it
  // is empty.
  std::string Run(std::vector<std::string> arguments, const Terminal& terminal,
                  const std::string& interrupt_at = "") {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.insert(arguments.end(), {"--server", server_.address()});
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
    const std::string text = ReadToEnd(screen, interrupt_at);
    int status = 0;
    waitpid(child, &status, 0);
    close(screen);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == (interrupt_at.empty() ? 0 : 130))
        << text;
    return text;
  }

  FakeTraining training_;
  FakeServer server_{training_.services()};
  TempDir folder_;

 private:
  static std::string ReadToEnd(int fd, std::string interrupt_at) {
    constexpr char kCtrlC = '\x03';
    std::string text;
    char buffer[4096];
    for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, count);
      if (interrupt_at.empty() || text.find(interrupt_at) == std::string::npos) continue;
      EXPECT_EQ(write(fd, &kCtrlC, 1), 1);
      interrupt_at.clear();
    }
    return text;
  }
};

TEST_F(CliTerminalTest, ProgressIsDrawnInPlaceAndTheTerminalGivenBack) {
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

v1::TrainingEvent StateEvent(v1::TrainingJob::State state, const std::string& reason = "") {
  v1::TrainingEvent event;
  event.mutable_state_change()->set_state(state);
  event.mutable_state_change()->set_reason(reason);
  return event;
}

v1::TrainingEvent ProgressEvent(int64_t step) {
  v1::TrainingEvent event;
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_loss(0.5);
  return event;
}

v1::TrainingEvent GridEvent() {
  v1::TrainingEvent event;
  v1::Image& image = *event.mutable_sample_grid()->mutable_image();
  image.set_encoding(v1::ENCODING_PNG);
  image.set_data(
      EncodeImage(Image{8, 8, 1, std::vector<uint8_t>(64, 99)}, ImageFormat::kPng).value());
  return event;
}

TEST_F(CliTerminalTest, AWatchShowsHowAJobGoesInPlaceAndTellsItsEndBelow) {
  const bool pictures = DENOISE_SHOWS_PICTURES;
  const std::vector<v1::TrainingEvent> events = {StateEvent(v1::TrainingJob::RUNNING),
                                                 ProgressEvent(10), GridEvent(),
                                                 StateEvent(v1::TrainingJob::SUCCEEDED)};
  const std::string text = Watch(events);
  EXPECT_THAT(text, AllOf(HasSubstr(kHideCursor), HasSubstr("  10/20 steps  loss 0.5000")));
  EXPECT_EQ(text.find(kSaveCursor) != std::string::npos, pictures);
  EXPECT_GT(text.rfind(kShowCursor), text.rfind(kHideCursor));
  EXPECT_LT(text.rfind(kShowCursor), text.find("state       succeeded"));
  EXPECT_THAT(Watch(events, {.rows = 7}), Not(HasSubstr(kSaveCursor))) << "there is no room";
}

TEST_F(CliTerminalTest, ANoticeStandsOnALineOfItsOwnAndTheDisplayGoesOnBelow) {
  v1::TrainingEvent notice;
  notice.set_notice("the disk is full");
  const std::string text = Watch({StateEvent(v1::TrainingJob::RUNNING), ProgressEvent(10), notice,
                                  ProgressEvent(20), StateEvent(v1::TrainingJob::SUCCEEDED)},
                                 {.name = "dumb"});
  EXPECT_THAT(text, HasSubstr(std::string("\r\n") + kShowCursor + "the disk is full\r\n"));
  EXPECT_LT(text.find("the disk is full"), text.rfind(kHideCursor));
}

TEST_F(CliTerminalTest, AnUploadShowsWhatItDoes) {
  training_.get_dataset = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such data set");
  };
  training_.upload = [](auto&, auto& reader, auto& dataset) {
    v1::UploadDatasetRequest message;
    while (reader.Read(&message)) dataset.set_state(v1::Dataset::READY);
    return grpc::Status::OK;
  };
  const std::filesystem::path path = folder_.path() / "pictures.tar";
  std::ofstream(path) << std::string(1'500'000, 'x');
  EXPECT_THAT(Run({"datasets", "upload", path.string()}, {}),
              AllOf(HasSubstr("hashing "), HasSubstr("1.0 MB of 1.5 MB"), HasSubstr("uploading "),
                    HasSubstr("reading "), HasSubstr(kShowCursor)));
}

TEST_F(CliTerminalTest, CtrlCEndsTheHashingOfAnUpload) {
  training_.get_dataset = [](const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such data set");
  };
  const std::filesystem::path path = folder_.path() / "pictures.tar";
  std::ofstream(path).put('x');
  std::filesystem::resize_file(path, uintmax_t{64} << 30);  // a hole: no disk, but long to read
  const std::string text = Run({"datasets", "upload", path.string()}, {}, "hashing ");
  EXPECT_THAT(text, AllOf(HasSubstr("denoise: interrupted\r\n"), Not(HasSubstr("uploading"))));
}

TEST_F(CliTerminalTest, AServerCannotWriteToTheTerminal) {
  v1::TrainingEvent notice;
  notice.set_notice("\x1b]0;gone\x07");
  const std::string text = Watch({StateEvent(v1::TrainingJob::RUNNING, "\x1b]0;gone\x07\n"), notice,
                                  StateEvent(v1::TrainingJob::FAILED, "\x1b]0;gone\x07\n")});
  EXPECT_THAT(text, AllOf(HasSubstr("\\x1b]0;gone\\x07"), Not(HasSubstr("\x1b]0;"))));
}

}  // namespace
}  // namespace denoise
