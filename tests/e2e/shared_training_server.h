// One server that trains for all tests of a suite, which must still serve after each of them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/support/temp_dir.h"

namespace denoise {

class SharedTrainingServer : public testing::Test {
 protected:
  // Of SetUpTestSuite. Serves `models`, one of which is AddGuided's.
  static void Start(std::unique_ptr<ModelsFolder> models, std::vector<std::string> flags = {}) {
    folder_ = std::make_unique<TempDir>();
    models_ = std::move(models);
    flags.insert(flags.end(), {"--state", (folder_->path() / "state").string()});
    server_ = StartServer(models_->path(), flags);
    stubs_ = std::make_unique<TrainingStubs>(*server_);
  }

  static void TearDownTestSuite() {
    stubs_.reset();
    server_.reset();
    models_.reset();
    folder_.reset();
  }

  // After whatever a test did.
  void TearDown() override {
    EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/1)).status.ok())
        << "the server no longer serves";
  }

  static inline std::unique_ptr<TempDir> folder_;
  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
  static inline std::unique_ptr<TrainingStubs> stubs_;
};

}  // namespace denoise
