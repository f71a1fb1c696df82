// Adapters with the real server: listed, chosen by requests, refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class AdaptersTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddPipeline("sd15-like").AddPipeline("sdxl-like").AddGuided();
    adapters_ = std::make_unique<TempDir>();
    Copy("sd15-like/loras/pytorch_lora_weights.safetensors", "pixel art.safetensors");
    Copy("sdxl-like/loras/kohya-sgm.safetensors", "xl.safetensors");
    fs::copy("README.md", adapters_->path() / "text.safetensors");
    server_ = StartServer(models_->path(), {"--adapters", adapters_->path().string()});
  }

  static void TearDownTestSuite() {
    server_.reset();
    adapters_.reset();
    models_.reset();
  }

  static void Copy(const std::string& from, const std::string& to) {
    fs::copy("tests/data/pipelines/" + from, adapters_->path() / to,
             fs::copy_options::overwrite_existing);
  }

  static v1::GenerateRequest RequestWith(const std::vector<std::pair<const char*, double>>& named) {
    v1::GenerateRequest request;
    request.set_model("models/sd15-like");
    request.set_prompt("a fox");
    request.set_seed(1);
    request.mutable_sampler()->set_steps(2);
    for (const auto& [name, scale] : named) {
      request.add_adapters()->set_name(name);
      request.mutable_adapters()->rbegin()->set_scale(scale);
    }
    return request;
  }

  static Generation Run(const v1::GenerateRequest& request) {
    return Generate(server_->generation(), request);
  }

  static ProcessResult RunClient(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }

  static std::unique_ptr<ModelsFolder> models_;
  static std::unique_ptr<TempDir> adapters_;
  static std::unique_ptr<ServerProcess> server_;
};

std::unique_ptr<ModelsFolder> AdaptersTest::models_;
std::unique_ptr<TempDir> AdaptersTest::adapters_;
std::unique_ptr<ServerProcess> AdaptersTest::server_;

TEST_F(AdaptersTest, ChangeTheImageByTheirScale) {
  const auto image = [](const std::vector<std::pair<const char*, double>>& adapters) {
    const Generation generation = Run(RequestWith(adapters));
    EXPECT_TRUE(generation.status.ok()) << generation.status.error_message();
    return generation.Images().at(0);
  };
  const std::string plain = image({});
  EXPECT_EQ(image({{"adapters/pixel art", 0}}), plain);
  EXPECT_NE(image({{"adapters/pixel art", 1}}), plain);
  EXPECT_NE(image({{"adapters/pixel art", 1}}), image({{"adapters/pixel art", 0.5}}));
  EXPECT_EQ(image({{"adapters/pytorch_lora_weights", 0.5}}), image({{"adapters/pixel art", 0.5}}))
      << "the same file beside the model";
}

TEST_F(AdaptersTest, AreEchoed) {
  v1::GenerateRequest request = RequestWith({{"models/sd15-like/adapters/kohya-conv", -0.5}});
  request.add_adapters()->set_name("adapters/pixel art");
  const Generation generation = Run(request);
  ASSERT_TRUE(generation.status.ok()) << generation.status.error_message();
  const v1::Accepted accepted = generation.Of(v1::GenerateEvent::kAccepted).at(0).accepted();
  ASSERT_EQ(accepted.adapters_size(), 2);
  EXPECT_EQ(accepted.adapters(0).name(), "models/sd15-like/adapters/kohya-conv");
  EXPECT_EQ(accepted.adapters(0).scale(), -0.5);
  EXPECT_EQ(accepted.adapters(1).name(), "adapters/pixel art");
  EXPECT_EQ(accepted.adapters(1).version().size(), 32u);
  EXPECT_EQ(accepted.adapters(1).scale(), 1);
}

TEST_F(AdaptersTest, BadOnesAreNamed) {
  struct Case {
    const char* name;
    const char* field;
    std::function<void(v1::GenerateRequest&)> spoil;
  };
  const auto add = [](const char* name, double scale = 1) {
    return [=](v1::GenerateRequest& request) {
      auto& adapter = *request.add_adapters();
      adapter.set_name(name);
      adapter.set_scale(scale);
    };
  };
  const Case cases[] = {
      {"no name", "adapters[0].name", [](auto& r) { r.add_adapters(); }},
      {"an unknown one", "adapters[0].name", add("adapters/nope")},
      {"a path", "adapters[0].name", add("adapters/../pixel art")},
      {"a file of the system", "adapters[0].name", add("adapters//etc/passwd")},
      {"one for another base", "adapters[0].name", add("adapters/xl")},
      {"one of another model", "adapters[0].name", add("models/sdxl-like/adapters/kohya-sgm")},
      {"a broken file", "adapters[0].name", add("adapters/text")},
      {"a huge scale", "adapters[0].scale", add("adapters/pixel art", 1e6)},
      {"a scale that is no number", "adapters[0].scale",
       add("adapters/pixel art", std::numeric_limits<double>::quiet_NaN())},
      {"the same twice", "adapters[1].name",
       [](auto& r) {
         for (int i = 0; i < 2; ++i) r.add_adapters()->set_name("adapters/pixel art");
       }},
      {"the same file by another name", "adapters[1].name",
       [](auto& r) {
         r.add_adapters()->set_name("adapters/kohya-conv");
         r.add_adapters()->set_name("models/sd15-like/adapters/kohya-conv");
       }},
      {"five", "adapters",
       [](auto& r) {
         for (int i = 0; i < 5; ++i) r.add_adapters()->set_name(absl::StrCat("adapters/", i));
       }},
      {"a hundred thousand", "adapters",
       [](auto& r) {
         for (int i = 0; i < 100'000; ++i) r.add_adapters();
       }},
      {"a model that takes none", "adapters",
       [](auto& r) {
         r.set_model("models/guided");
         r.clear_prompt();
         r.set_class_label(0);
         r.add_adapters()->set_name("adapters/pixel art");
       }},
  };
  for (const Case& bad : cases) {
    v1::GenerateRequest request = RequestWith({});
    bad.spoil(request);
    const grpc::Status status = Run(request).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad.name;
    EXPECT_THAT(ViolatedFields(status), ElementsAre(bad.field)) << bad.name;
    EXPECT_THAT(status.error_message(), testing::Not(HasSubstr(adapters_->path().string())));
  }
}

TEST_F(AdaptersTest, EverythingThatIsWrongIsNamedAtOnce) {
  v1::GenerateRequest request = RequestWith({{"adapters/nope", 1}});
  request.add_adapters()->set_name("adapters/pixel art");
  request.mutable_adapters(1)->set_scale(1e9);
  request.set_width(33);
  EXPECT_THAT(ViolatedFields(Run(request).status),
              testing::UnorderedElementsAre("adapters[0].name", "adapters[1].scale", "width"));
}

TEST_F(AdaptersTest, AreNotReadForARequestThatIsRefused) {
  const fs::path file = adapters_->path() / "unread.safetensors";
  std::string bytes = ReadFile(adapters_->path() / "pixel art.safetensors");
  bytes.back() ^= 1;  // no other adapter's
  WriteFile(file, bytes);
  const auto loads = [] { return server_->Metrics().Sum("denoised_adapter_loads_total"); };
  v1::GenerateRequest request = RequestWith({{"adapters/unread", 1}});
  request.set_count(0);
  const double before = loads();
  EXPECT_THAT(ViolatedFields(Run(request).status), ElementsAre("count"));
  EXPECT_EQ(loads(), before);
  request.set_count(1);
  EXPECT_TRUE(Run(request).status.ok());
  EXPECT_EQ(loads(), before + 1);
  fs::remove(file);
}

TEST_F(AdaptersTest, AreListed) {
  std::vector<std::string> names;
  const ProcessResult all = RunClient({"adapters", "--json"});
  ASSERT_EQ(all.exit_status.code, 0) << all.error;
  for (const absl::string_view line : absl::StrSplit(all.output, '\n', absl::SkipEmpty())) {
    names.push_back(Json::parse(line)["name"]);
  }
  EXPECT_THAT(names, ElementsAre("adapters/pixel art", "adapters/text", "adapters/xl",
                                 "models/sd15-like/adapters/kohya-conv",
                                 "models/sd15-like/adapters/pytorch_lora_weights",
                                 "models/sdxl-like/adapters/kohya-sgm",
                                 "models/sdxl-like/adapters/pytorch_lora_weights"));
  const ProcessResult fitting = RunClient({"adapters", "--model", "sdxl-like"});
  EXPECT_THAT(fitting.output, HasSubstr("sdxl-like/kohya-sgm"));
  EXPECT_THAT(fitting.output, testing::Not(HasSubstr("pixel art")));
  EXPECT_EQ(RunClient({"adapters", "--model", "nope"}).exit_status.code, 5);
}

TEST_F(AdaptersTest, ListsHavePages) {
  const auto stub = v1::Models::NewStub(server_->channel());
  v1::ListAdaptersRequest request;
  request.set_page_size(3);
  int pages = 0, adapters = 0;
  do {
    grpc::ClientContext context;
    v1::ListAdaptersResponse response;
    ASSERT_TRUE(stub->ListAdapters(&context, request, &response).ok());
    adapters += response.adapters_size();
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(adapters, 7);
}

TEST_F(AdaptersTest, TheCommandTakesNamesAndScales) {
  const TempDir out;
  const auto generate = [&](std::vector<std::string> arguments) {
    std::vector<std::string> all = {"generate",   "--model", "sd15-like",
                                    "--prompt",   "a fox",   "--steps",
                                    "2",          "--out",   (out.path() / "run").string(),
                                    "--overwrite"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return RunClient(all);
  };
  EXPECT_EQ(
      generate({"--lora", "pixel art=0.8", "--lora", "sd15-like/kohya-conv"}).exit_status.code, 0);
  const ProcessResult unknown = generate({"--lora", "nope=0.8"});
  EXPECT_EQ(unknown.exit_status.code, 2);
  EXPECT_THAT(unknown.error, HasSubstr("--lora[0]: \"adapters/nope\" does not exist"));
  EXPECT_THAT(generate({"--lora", "pixel art=much"}).error, HasSubstr("pixel art=much"));
}

TEST_F(AdaptersTest, AFileThatIsReplacedIsReadAgain) {
  Copy("sd15-like/loras/pytorch_lora_weights.safetensors", "changing.safetensors");
  const v1::GenerateRequest request = RequestWith({{"adapters/changing", 1}});
  const std::string before = Run(request).Images().at(0);
  Copy("sd15-like/loras/kohya-conv.safetensors", "next");
  fs::rename(adapters_->path() / "next", adapters_->path() / "changing.safetensors");
  EXPECT_NE(Run(request).Images().at(0), before);
  fs::remove(adapters_->path() / "changing.safetensors");
  EXPECT_THAT(ViolatedFields(Run(request).status), ElementsAre("adapters[0].name"));
}

}  // namespace
}  // namespace denoise
