// The `denoise` command as a process, against a server that trains as each test needs.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/image/image.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/fake_training.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {

inline constexpr absl::Duration kPatience = absl::Seconds(60);
inline constexpr char kHostile[] = "\x1b]0;gone\x07\r\nx";

inline ExitStatus Exited(int code) { return {.code = code, .signal = 0}; }

inline std::vector<nlohmann::json> Lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(nlohmann::json::parse(std::string(line), nullptr, /*allow_exceptions=*/false));
    EXPECT_FALSE(lines.back().is_discarded()) << line;
  }
  return lines;
}

inline denoised::v1::Image Picture() {
  denoised::v1::Image image;
  image.set_encoding(denoised::v1::ENCODING_PNG);
  image.set_data(
      EncodeImage(Image{4, 2, 1, std::vector<uint8_t>(8, 99)}, ImageFormat::kPng).value());
  return image;
}

inline denoised::v1::TrainingEvent StateEvent(denoised::v1::TrainingJob::State state,
                                              const std::string& reason = "") {
  denoised::v1::TrainingEvent event;
  event.mutable_state_change()->set_state(state);
  event.mutable_state_change()->set_reason(reason);
  return event;
}

inline denoised::v1::TrainingEvent ProgressEvent(int64_t step, double loss) {
  denoised::v1::TrainingEvent event;
  event.mutable_progress()->set_step(step);
  event.mutable_progress()->set_loss(loss);
  return event;
}

inline denoised::v1::TrainingEvent GridEvent(int64_t step) {
  denoised::v1::TrainingEvent event;
  event.mutable_sample_grid()->set_step(step);
  *event.mutable_sample_grid()->mutable_image() = Picture();
  return event;
}

inline denoised::v1::TrainingEvent NoticeEvent(const std::string& notice) {
  denoised::v1::TrainingEvent event;
  event.set_notice(notice);
  return event;
}

// Everything that a job tells from its beginning to its end.
inline std::vector<denoised::v1::TrainingEvent> WholeJob(
    denoised::v1::TrainingJob::State end = denoised::v1::TrainingJob::SUCCEEDED) {
  std::vector<denoised::v1::TrainingEvent> events = {StateEvent(denoised::v1::TrainingJob::QUEUED),
                                                     StateEvent(denoised::v1::TrainingJob::RUNNING),
                                                     ProgressEvent(10, 0.5),
                                                     GridEvent(10),
                                                     NoticeEvent("the disk is half full"),
                                                     ProgressEvent(20, 0.25),
                                                     StateEvent(end, "because")};
  for (size_t i = 0; i < events.size(); ++i) events[i].set_sequence(static_cast<int64_t>(i) + 1);
  return events;
}

// One job, "trainingJobs/7", and one data set, "datasets/emoji".
class CliTrainingTest : public testing::Test {
 protected:
  CliTrainingTest() {
    job_.set_name("trainingJobs/7");
    job_.set_state(denoised::v1::TrainingJob::SUCCEEDED);
    job_.mutable_training()->set_dataset("datasets/emoji");
    job_.mutable_training()->add_ema_decays(0.9);
    job_.mutable_training()->add_ema_decays(0.99);
    job_.set_steps_done(20);
    job_.set_steps_total(20);
    training_.create_job = [this](const auto& request, auto& job) {
      created_.push_back(request);
      job = job_;
      return grpc::Status::OK;
    };
    training_.get_job = [this](const auto& request, auto& job) {
      return Answer(request.name(), job_, job);
    };
    training_.get_dataset = [this](const auto& request, auto& dataset) {
      return Answer(request.name(), dataset_, dataset);
    };
    Serve(WholeJob());
  }

  ProcessResult Run(std::vector<std::string> arguments) {
    return RunProcess(Argv(std::move(arguments)), kPatience).value();
  }
  std::vector<std::string> Argv(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.insert(arguments.end(), {"--server", server_.address()});
    return arguments;
  }

  template <class Resource>
  static grpc::Status Answer(const std::string& name, const Resource& resource, Resource& answer) {
    if (resource.name() != name) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such");
    answer = resource;
    return grpc::Status::OK;
  }

  // A watch is told those of `events` that it has not been told.
  void Serve(const std::vector<denoised::v1::TrainingEvent>& events) {
    training_.watch_job = [events](auto&, const auto& request, auto& writer) {
      for (const denoised::v1::TrainingEvent& event : events) {
        if (event.sequence() > request.resume_after()) writer.Write(event);
      }
      return grpc::Status::OK;
    };
  }

  // The watch hears `events`, and then nothing.
  void ServeForEver(const std::vector<denoised::v1::TrainingEvent>& events) {
    training_.watch_job = [events](auto& context, const auto&, auto& writer) {
      for (const denoised::v1::TrainingEvent& event : events) writer.Write(event);
      WaitUntilCancelled(context);
      return grpc::Status::CANCELLED;
    };
  }

  std::filesystem::path out() const { return folder_.path() / "out"; }

  denoised::v1::TrainingJob job_;
  denoised::v1::Dataset dataset_;
  std::vector<denoised::v1::CreateTrainingJobRequest> created_;
  FakeTraining training_;
  FakeServer server_{training_.services()};
  TempDir folder_;
};

}  // namespace denoise
