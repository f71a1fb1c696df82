// A folder of pictures, and a job small enough for a test.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "denoised/v1/datasets.grpc.pb.h"
#include "denoised/v1/training.grpc.pb.h"
#include "tests/e2e/server_process.h"
#include "tests/support/temp_dir.h"

namespace denoise {

// Two classes, "dark" and "light", each with `count` PNGs of 16 x 16 pixels that differ a little.
void WritePictures(const std::filesystem::path& folder, int count);

// The settings of a job on datasets/NAME that trains a network of some thousand parameters for
// `max_steps` steps: a tenth of a second or so each.
denoised::v1::CreateTrainingJobRequest SmallJob(const std::string& dataset, int max_steps);

// The same as flags of `denoise train create`.
std::vector<std::string> SmallJobFlags(int max_steps);

// The stubs of a server that trains.
struct TrainingStubs {
  explicit TrainingStubs(const ServerProcess& server)
      : training(denoised::v1::Training::NewStub(server.channel())),
        datasets(denoised::v1::Datasets::NewStub(server.channel())) {}

  std::unique_ptr<denoised::v1::Training::Stub> training;
  std::unique_ptr<denoised::v1::Datasets::Stub> datasets;
};

// Uploads the folder as datasets/NAME with the client; the test ends here when that fails.
void UploadPictures(const ServerProcess& server, const std::filesystem::path& folder,
                    const std::string& name);

// Watches the job until it is over, and returns it then.
denoised::v1::TrainingJob WaitForEnd(denoised::v1::Training::Stub& stub, const std::string& name);

// The same until it is in `state`, or over.
denoised::v1::TrainingJob WaitForState(denoised::v1::Training::Stub& stub, const std::string& name,
                                       denoised::v1::TrainingJob::State state);

}  // namespace denoise
