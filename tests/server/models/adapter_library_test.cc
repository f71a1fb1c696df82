// The adapters of a server: which there are, when they are read, and what they may take.
#include "server/models/adapter_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "server/models/model_loader.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

const fs::path kPipelines = "tests/data/pipelines";
const fs::path kPeft = kPipelines / "sd15-like/loras/pytorch_lora_weights.safetensors";
const fs::path kKohya = kPipelines / "sd15-like/loras/kohya-conv.safetensors";
const fs::path kXl = kPipelines / "sdxl-like/loras/kohya-sgm.safetensors";
constexpr int64_t kPeftBytes = 15616 * 4;

ModelHandle Describe(const std::string& folder) {
  const auto parsed = ParsedPipeline::OpenConfigs(kPipelines / folder);
  return *DescribeModel(*parsed, folder, at::kFloat);
}

const ModelHandle& Sd15() {
  static const auto* const model = new ModelHandle(Describe("sd15-like"));
  return *model;
}
const ModelHandle& Sdxl() {
  static const auto* const model = new ModelHandle(Describe("sdxl-like"));
  return *model;
}

class AdapterLibraryTest : public testing::Test {
 protected:
  AdapterLibraryTest() {
    // A model's folder is one with an index; no other part is looked at.
    for (const char* model : {"sd15-like", "sdxl-like"}) {
      fs::create_directories(models_.path() / model / "loras");
      fs::copy(kPipelines / model / "model_index.json", models_.path() / model);
    }
    Open();
  }

  void Open(int64_t memory_bytes_max = 0, std::vector<at::Device> devices = {at::kCPU},
            at::ScalarType dtype = at::kFloat) {
    library_ = std::make_unique<AdapterLibrary>(
        AdapterLibrary::Options{.models = models_.path(),
                                .adapters = adapters_.path(),
                                .memory_bytes_max = memory_bytes_max,
                                .devices = std::move(devices),
                                .dtype = dtype,
                                .on_load = [this](bool ok) { ++(ok ? loads_ : failures_); },
                                .on_memory = [this](int64_t bytes) { memory_bytes_ = bytes; }});
  }

  void Add(const std::string& name, const fs::path& file = kPeft) {
    fs::create_directories((adapters_.path() / name).parent_path());
    fs::copy(file, adapters_.path() / name, fs::copy_options::overwrite_existing);
  }
  void AddBeside(const std::string& model, const std::string& name, const fs::path& file = kPeft) {
    fs::copy(file, models_.path() / model / "loras" / name);
  }

  absl::StatusOr<std::shared_ptr<const Adapter>> Load(const std::string& adapter,
                                                      const std::string& model = "") {
    return library_->Load(*Sd15(), {model, adapter});
  }
  void ExpectRefused(const std::string& adapter, const std::string& reason) {
    const absl::Status status = Load(adapter).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsNotFound(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason)) << adapter;
  }

  std::vector<std::string> Listed() {
    std::vector<std::string> names;
    for (const AdapterInfo& info : library_->List({Sd15(), Sdxl()})) {
      names.push_back(AdapterName(info.id));
    }
    return names;
  }

  TempDir models_;
  TempDir adapters_;
  int loads_ = 0;
  int failures_ = 0;
  int64_t memory_bytes_ = 0;
  std::unique_ptr<AdapterLibrary> library_;
};

TEST_F(AdapterLibraryTest, ReadsAFileOnceUntilItIsReplaced) {
  Add("style.safetensors");
  const auto first = Load("style");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*Load("style"), *first);
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(memory_bytes_, kPeftBytes);

  Add("new", kKohya);
  fs::rename(adapters_.path() / "new", adapters_.path() / "style.safetensors");
  const auto second = Load("style");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE((*second)->bytes(), (*first)->bytes());
  EXPECT_EQ(loads_, 2);
  EXPECT_EQ(memory_bytes_, (*first)->bytes() + (*second)->bytes())
      << "a request still has the first";
}

TEST_F(AdapterLibraryTest, FindsEveryLayout) {
  Add("file.safetensors");
  Add("Pixel Art (v1.1), \xe7\xbb\x98.safetensors");
  Add("saved/pytorch_lora_weights.safetensors");
  Add("models--org--lcm/snapshots/0a1b/pytorch_lora_weights.safetensors");
  Add(".hidden.safetensors");
  Add("other/readme.safetensors");
  Add("notes.txt");
  Add(std::string("broken \xff name.safetensors"));
  EXPECT_THAT(Listed(), ElementsAre("adapters/Pixel Art (v1.1), \xe7\xbb\x98", "adapters/file",
                                    "adapters/org--lcm", "adapters/saved"));
  for (const char* name : {"Pixel Art (v1.1), \xe7\xbb\x98", "file", "org--lcm", "saved"}) {
    EXPECT_TRUE(Load(name).ok()) << name;
  }
  ExpectRefused("other", "is no adapter of this server");
}

TEST_F(AdapterLibraryTest, ModelsHaveTheirOwn) {
  Add("style.safetensors");
  AddBeside("sd15-like", "style.safetensors", kKohya);
  AddBeside("sdxl-like", "shape.safetensors", kXl);
  EXPECT_THAT(Listed(), ElementsAre("adapters/style", "models/sd15-like/adapters/style",
                                    "models/sdxl-like/adapters/shape"));
  EXPECT_EQ(*Load("style"), *Load("style", "sd15-like")) << "the nearest one";
  EXPECT_NE((*Load("style"))->bytes(), kPeftBytes);
  EXPECT_THAT(std::string(Load("shape", "sdxl-like").status().message()),
              HasSubstr("belongs to another model"));
  ExpectRefused("shape", "is no adapter of this server");
}

TEST_F(AdapterLibraryTest, SaysWhatEachAdapterIs) {
  Add("style.safetensors");
  Add("xl.safetensors", kXl);
  Add("text.safetensors", "README.md");
  const std::vector<AdapterInfo> listed = library_->List({Sd15(), Sdxl()});
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_THAT(listed[0].models, ElementsAre("sd15-like"));
  EXPECT_EQ(listed[0].rank, 4);
  EXPECT_EQ(listed[0].num_parameters, 15616);
  EXPECT_EQ(listed[0].file_bytes, static_cast<int64_t>(fs::file_size(kPeft)));
  EXPECT_TRUE(listed[0].error.ok());
  EXPECT_FALSE(listed[1].error.ok()) << "it is text";
  EXPECT_THAT(listed[1].models, IsEmpty());
  EXPECT_THAT(listed[2].models, ElementsAre("sdxl-like"));
  // What was found to be broken is looked at again once it has changed.
  Add("text.safetensors");
  EXPECT_TRUE(library_->List({Sd15()})[1].error.ok());
  fs::remove(adapters_.path() / "text.safetensors");
  EXPECT_EQ(library_->List({Sd15()}).size(), 2u);
}

TEST_F(AdapterLibraryTest, RefusesWhatCannotBeUsed) {
  Add("xl.safetensors", kXl);
  Add("text.safetensors", "README.md");
  ASSERT_EQ(mkfifo((adapters_.path() / "pipe.safetensors").c_str(), 0600), 0);
  fs::create_symlink("nowhere", adapters_.path() / "dangling.safetensors");
  ExpectRefused("xl", "does not fit this model");
  ExpectRefused("text", "does not load");
  ExpectRefused("pipe", "not a regular file");
  ExpectRefused("dangling", "does not load");
  ExpectRefused("absent", "is no adapter of this server");
  EXPECT_EQ(memory_bytes_, 0);
  EXPECT_EQ(loads_, 0);
}

TEST_F(AdapterLibraryTest, ThoseNotUsedForLongestMakeRoom) {
  for (const char* name : {"a", "b", "c"}) Add(absl::StrCat(name, ".safetensors"));
  Open(2 * kPeftBytes);
  ASSERT_TRUE(Load("a").ok() && Load("b").ok() && Load("a").ok());
  EXPECT_EQ(loads_, 2);
  ASSERT_TRUE(Load("c").ok());
  EXPECT_EQ(memory_bytes_, 2 * kPeftBytes);
  ASSERT_TRUE(Load("a").ok());
  EXPECT_EQ(loads_, 3) << "a has stayed, b has gone";
}

TEST_F(AdapterLibraryTest, ThoseInUseStay) {
  Add("a.safetensors");
  Add("b.safetensors");
  Open(kPeftBytes);
  // A copy on a device counts, even if it is all that a request keeps.
  auto used = (*Load("a"))->On(at::kCPU, at::kHalf);
  const absl::Status full = Load("b").status();
  EXPECT_TRUE(absl::IsUnavailable(full)) << full;
  EXPECT_TRUE(GetRetryDelay(full).has_value());
  used.reset();
  EXPECT_TRUE(Load("b").ok());
}

TEST_F(AdapterLibraryTest, CountsCopiesOnDevicesAndRefusesWhatNeverFits) {
  Add("a.safetensors");
  Open(kPeftBytes, {at::kCPU}, at::kBFloat16);
  ExpectRefused("a", "--adapter-memory");
  Open(kPeftBytes + kPeftBytes / 2, {at::kCPU}, at::kBFloat16);
  EXPECT_TRUE(Load("a").ok());
}

TEST_F(AdapterLibraryTest, IsReadOnceForAllWhoWantIt) {
  Add("a.safetensors");
  std::vector<std::future<const Adapter*>> loads;
  for (int i = 0; i < 8; ++i) {
    loads.push_back(std::async(std::launch::async, [this] { return Load("a")->get(); }));
  }
  const Adapter* const first = loads[0].get();
  for (int i = 1; i < 8; ++i) EXPECT_EQ(loads[i].get(), first);
  EXPECT_EQ(loads_, 1);
}

TEST(AdapterNames, AreParsed) {
  EXPECT_EQ(ParseAdapterName("adapters/a b"), (AdapterId{"", "a b"}));
  EXPECT_EQ(ParseAdapterName("models/m@2/adapters/a"), (AdapterId{"m@2", "a"}));
  for (const char* name :
       {"", "a", "adapters/", "adapters/.a", "adapters/a/b", "adapters/../a", "models/m/a",
        "models//adapters/a", "models/m/adapters/", "adapters/a\nb", "adapters/\xff"}) {
    EXPECT_EQ(ParseAdapterName(name), std::nullopt) << name;
  }
  EXPECT_EQ(ParseAdapterName(absl::StrCat("adapters/", std::string(201, 'a'))), std::nullopt);
}

}  // namespace
}  // namespace denoise
