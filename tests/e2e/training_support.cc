#include "tests/e2e/training_support.h"

#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/image/image.h"
#include "tests/e2e/e2e_support.h"

namespace denoise {
namespace {

constexpr int kSize = 16;

// `shade` with a brighter square whose place and size `variant` gives.
Image Picture(int shade, int variant) {
  Image image{kSize, kSize, 3, std::vector<uint8_t>(kSize * kSize * 3)};
  const int left = variant % 7, top = variant / 7 % 7, extent = 4 + variant % 5;
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      const bool inside = x >= left && x < left + extent && y >= top && y < top + extent;
      for (int c = 0; c < 3; ++c) {
        image.pixels[(y * kSize + x) * 3 + c] =
            static_cast<uint8_t>(shade + (inside ? 40 + 5 * c : 0));
      }
    }
  }
  return image;
}

}  // namespace

void WritePictures(const std::filesystem::path& folder, int count) {
  for (const auto& [name, shade] : {std::pair("dark", 30), std::pair("light", 180)}) {
    std::filesystem::create_directories(folder / name);
    for (int i = 0; i < count; ++i) {
      WriteFile(folder / name / absl::StrCat(i, ".png"),
                EncodeImage(Picture(shade, i), ImageFormat::kPng).value());
    }
  }
}

denoised::v1::CreateTrainingJobRequest SmallJob(const std::string& dataset, int max_steps) {
  denoised::v1::CreateTrainingJobRequest request;
  auto& settings = *request.mutable_training();
  settings.set_dataset("datasets/" + dataset);
  auto& network = *settings.mutable_new_network();
  network.set_height(kSize);
  network.set_width(kSize);
  network.add_block_out_channels(16);
  network.add_block_out_channels(16);
  network.set_layers_per_block(1);
  network.set_no_attention(true);
  settings.set_max_steps(max_steps);
  settings.set_batch_size(4);
  settings.set_micro_batch_size(2);
  settings.set_seed(11);
  settings.mutable_checkpoints()->set_every_n_steps(5);
  settings.mutable_samples()->set_every_n_steps(8);
  settings.mutable_samples()->set_count(2);
  settings.mutable_samples()->mutable_sampler()->set_steps(2);
  return request;
}

std::vector<std::string> SmallJobFlags(int max_steps) {
  return {"--height",
          "16",
          "--width",
          "16",
          "--no-attention",
          "--block-out-channels",
          "16,16",
          "--layers-per-block",
          "1",
          "--max-steps",
          absl::StrCat(max_steps),
          "--batch-size",
          "4",
          "--micro-batch-size",
          "2",
          "--seed",
          "11",
          "--checkpoint-every",
          "5",
          "--sample-every",
          "8",
          "--sample-count",
          "2",
          "--steps",
          "2"};
}

void UploadPictures(const ServerProcess& server, const std::filesystem::path& folder,
                    const std::string& name) {
  const ProcessResult result = RunDenoise(
      {"datasets", "upload", folder.string(), "--name", name, "--server", server.address()});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
}

denoised::v1::TrainingJob WaitForEnd(denoised::v1::Training::Stub& stub, const std::string& name) {
  return WaitForState(stub, name, denoised::v1::TrainingJob::STATE_UNSPECIFIED);
}

denoised::v1::TrainingJob WaitForState(denoised::v1::Training::Stub& stub, const std::string& name,
                                       denoised::v1::TrainingJob::State state) {
  const auto get = [&] {
    denoised::v1::GetTrainingJobRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    denoised::v1::TrainingJob job;
    EXPECT_TRUE(stub.GetTrainingJob(&context, request, &job).ok());
    return job;
  };
  denoised::v1::WatchTrainingJobRequest request;
  request.set_name(name);
  grpc::ClientContext context;
  const auto reader = stub.WatchTrainingJob(&context, request);
  for (denoised::v1::TrainingEvent event; reader->Read(&event);) {
    if (!event.has_state_change() || get().state() != state) continue;
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    break;
  }
  (void)reader->Finish();
  return get();
}

}  // namespace denoise
