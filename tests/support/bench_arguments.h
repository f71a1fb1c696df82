// The arguments of benchmarks. Bad ones are answered with the usage and exit code 2.
#pragma once

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

namespace denoise {

// Positional arguments, each with a default: "[threads] [folder]". Not thread-safe.
class BenchArguments {
 public:
  // `usage` is the line that the program is started with. More than `most` arguments, and flags,
  // end the program.
  BenchArguments(int argc, char** argv, const char* usage, int most)
      : argc_(argc), argv_(argv), usage_(usage) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument == "--help" || argument == "-h") {
        std::printf("Usage: %s\n", usage_);
        std::exit(0);
      }
      if (argument.starts_with("-")) Refuse("unknown flag", argument);
    }
    if (argc - 1 > most) Refuse("unexpected argument", argv[most + 1]);
  }

  // Argument `index`, counted from 1, as a whole number from 1 to `max`.
  int Number(int index, const char* name, int otherwise, int max = 1 << 20) const {
    if (index >= argc_) return otherwise;
    const std::string_view text = argv_[index];
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 1 || number > max) {
      Refuse(
          (std::string(name) + " must be a whole number from 1 to " + std::to_string(max) + "; is")
              .c_str(),
          text);
    }
    return number;
  }

  // A folder, which must exist if it is given.
  const char* Folder(int index, const char* otherwise) const {
    if (index >= argc_) return otherwise;
    std::error_code ignored;
    if (!std::filesystem::is_directory(argv_[index], ignored)) {
      Refuse("there is no folder", argv_[index]);
    }
    return argv_[index];
  }

  // One of `choices`, the first by default.
  std::string_view Choice(int index, const char* name,
                          std::initializer_list<std::string_view> choices) const {
    if (index >= argc_) return *choices.begin();
    for (const std::string_view choice : choices) {
      if (choice == argv_[index]) return choice;
    }
    Refuse((std::string("unknown ") + name).c_str(), argv_[index]);
  }

 private:
  [[noreturn]] void Refuse(const char* what, std::string_view text) const {
    std::fprintf(stderr, "%s %.*s\nUsage: %s\n", what, static_cast<int>(text.size()), text.data(),
                 usage_);
    std::exit(2);
  }

  const int argc_;
  char** const argv_;
  const char* const usage_;
};

}  // namespace denoise
