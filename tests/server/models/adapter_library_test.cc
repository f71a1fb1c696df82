// The adapters of a server: which there are, when they are read, and what they may take.
#include "server/models/adapter_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "core/io/safetensors.h"
#include "server/models/model_loader.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

const fs::path kPipelines = "tests/data/pipelines";
const fs::path kPeft = kPipelines / "sd15-like/loras/pytorch_lora_weights.safetensors";
const fs::path kKohya = kPipelines / "sd15-like/loras/kohya-conv.safetensors";
const fs::path kXl = kPipelines / "sdxl-like/loras/kohya-sgm.safetensors";
constexpr int64_t kPeftBytes = 15616 * 4;

ModelHandle Describe(const std::string& folder) {
  const auto parsed = ParsedPipeline::OpenConfigs(kPipelines / folder);
  return *DescribeModel(*parsed, folder, {});
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

  void Open(int64_t memory_bytes_max = 0, at::ScalarType dtype = at::kFloat) {
    library_ = std::make_unique<AdapterLibrary>(
        &catalog_,
        AdapterLibrary::Options{.memory_bytes_max = memory_bytes_max,
                                .load = {.dtype = dtype},
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

  // As a request to sd15-like with these adapters does.
  absl::StatusOr<std::vector<LoadedAdapter>> LoadAll(const std::vector<AdapterId>& ids) {
    std::vector<AdapterFile> files;
    for (const AdapterId& id : ids) {
      auto file = catalog_.Find(*Sd15(), id);
      if (!file.ok()) return file.status();
      files.push_back(*std::move(file));
    }
    return library_->Load(*Sd15(), files);
  }
  absl::StatusOr<std::shared_ptr<const Adapter>> Load(const std::string& adapter,
                                                      const std::string& model = "") {
    auto loaded = LoadAll({{model, adapter}});
    if (!loaded.ok()) return loaded.status();
    return loaded->front().adapter;
  }
  // Refused before its weights are read.
  void ExpectRefused(const std::string& adapter, const std::string& reason) {
    const auto file = catalog_.Find(*Sd15(), {"", adapter});
    const absl::Status status =
        file.ok() ? catalog_.CountParameters(*file, *Sd15()).status() : file.status();
    EXPECT_TRUE(IsOfTheAdapter(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason)) << adapter;
  }

  std::vector<std::string> Listed() {
    std::vector<std::string> names;
    const auto files = catalog_.List({Sd15(), Sdxl()});
    for (const AdapterFile& file : *files) names.push_back(AdapterName(file.id));
    return names;
  }
  AdapterInfo Describe(const std::string& id) {
    return catalog_.Describe(*catalog_.Find(*Sd15(), {"", id}), {Sd15(), Sdxl()});
  }

  TempDir models_;
  TempDir adapters_;
  std::atomic<int> loads_ = 0, failures_ = 0;
  std::atomic<int64_t> memory_bytes_ = 0;
  AdapterCatalog catalog_{models_.path(), adapters_.path()};
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
    EXPECT_TRUE(Load(name).ok()) << name << " " << Load(name).status();
  }
  ExpectRefused("other", "does not exist");
}

TEST(AdapterCatalog, LogsWhatIsNoAdapter) {
  const TempDir folder;
  fs::copy(kPeft, folder.path() / "good.safetensors");
  WriteFile(folder.path() / "notes.txt", "");
  WriteFile(folder.path() / "no\nname.safetensors", "");
  fs::create_directory(folder.path() / "peft");
  WriteFile(folder.path() / "peft" / "adapter_model.safetensors", "");
  std::ostringstream log;
  const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  const AdapterCatalog catalog("", folder.path());
  spdlog::set_default_logger(before);
  EXPECT_THAT(log.str(), HasSubstr("notes.txt (not a .safetensors file)"));
  EXPECT_THAT(log.str(), HasSubstr("name.safetensors (its name is not one of an adapter)"));
  EXPECT_THAT(log.str(), HasSubstr("peft (a folder of peft; give its adapter_model.safetensors"));
  EXPECT_THAT(log.str(), Not(HasSubstr("good")));
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
  ExpectRefused("shape", "does not exist");
}

TEST_F(AdapterLibraryTest, SaysWhatEachAdapterIs) {
  Add("style.safetensors");
  Add("xl.safetensors", kXl);
  Add("text.safetensors", "README.md");
  const AdapterInfo style = Describe("style");
  EXPECT_THAT(style.models, ElementsAre("sd15-like"));
  EXPECT_EQ(style.summary.rank, 4);
  EXPECT_EQ(style.summary.num_parameters, 15616);
  EXPECT_EQ(style.file_bytes, static_cast<int64_t>(fs::file_size(kPeft)));
  EXPECT_TRUE(style.summary.error.ok());
  EXPECT_THAT(Describe("xl").models, ElementsAre("sdxl-like"));
  EXPECT_FALSE(Describe("text").summary.error.ok());
  EXPECT_THAT(Describe("text").models, IsEmpty());
  Add("text.safetensors");
  EXPECT_TRUE(Describe("text").summary.error.ok()) << "it has changed";
}

TEST_F(AdapterLibraryTest, RefusesWhatCannotBeUsed) {
  Add("xl.safetensors", kXl);
  Add("text.safetensors", "README.md");
  ASSERT_EQ(mkfifo((adapters_.path() / "pipe.safetensors").c_str(), 0600), 0);
  fs::create_symlink("nowhere", adapters_.path() / "dangling.safetensors");
  fs::create_symlink("loop.safetensors", adapters_.path() / "loop.safetensors");
  ExpectRefused("xl", "does not fit this model");
  ExpectRefused("text", "does not load");
  ExpectRefused("pipe", "not a regular file");
  ExpectRefused("dangling", "does not load");
  ExpectRefused("loop", "does not load");
  ExpectRefused("absent", "does not exist");
  EXPECT_EQ(memory_bytes_, 0);
  EXPECT_EQ(loads_ + failures_, 0) << "headers are enough";
}

TEST_F(AdapterLibraryTest, WeightsThatCannotBeUsedAreReadOnce) {
  std::map<std::string, at::Tensor> tensors;
  const auto file = SafetensorsFile::Open(kPeft);
  for (const auto& [name, entry] : file->header().tensors) tensors[name] = *file->Get(name);
  tensors.begin()->second.fill_(std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(WriteSafetensors(adapters_.path() / "nan.safetensors", tensors).ok());
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = Load("nan").status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("adapters/nan does not load"));
  }
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(memory_bytes_, 0);
  Add("nan.safetensors");
  EXPECT_TRUE(Load("nan").ok());
}

TEST_F(AdapterLibraryTest, HalfPrecisionMustHoldTheWeights) {
  std::map<std::string, at::Tensor> tensors;
  const auto file = SafetensorsFile::Open(kPeft);
  for (const auto& [name, entry] : file->header().tensors) tensors[name] = *file->Get(name);
  for (auto& [name, tensor] : tensors) tensor.fill_(1e6);
  ASSERT_TRUE(WriteSafetensors(adapters_.path() / "big.safetensors", tensors).ok());
  EXPECT_TRUE(Load("big").ok());
  Open(0, at::kHalf);
  EXPECT_THAT(std::string(Load("big").status().message()), HasSubstr("float16"));
}

TEST_F(AdapterLibraryTest, VersionsFollowTheFile) {
  Add("a.safetensors");
  Add("b.safetensors");
  Add("c.safetensors", kKohya);
  const auto loaded = LoadAll({{"", "a"}, {"", "b"}, {"", "c"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)[0].version.size(), 32u);
  EXPECT_EQ((*loaded)[0].version, (*loaded)[1].version);
  EXPECT_NE((*loaded)[0].version, (*loaded)[2].version);
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
  auto used = *Load("a");
  const absl::Status full = Load("b").status();
  EXPECT_TRUE(absl::IsUnavailable(full)) << full;
  EXPECT_TRUE(GetRetryDelay(full).has_value());
  EXPECT_EQ(*Load("a"), used);
  EXPECT_EQ(loads_, 1);
  used.reset();
  EXPECT_TRUE(Load("b").ok());
}

TEST_F(AdapterLibraryTest, ThoseOfOneRequestMustFitTogether) {
  Add("a.safetensors");
  Add("b.safetensors");
  Open(kPeftBytes * 3 / 2);
  const absl::Status status = LoadAll({{"", "a"}, {"", "b"}}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--adapter-memory"));
  EXPECT_EQ(loads_, 0);
}

TEST_F(AdapterLibraryTest, CopiesOnDevicesCount) {
  Add("a.safetensors");
  Open(kPeftBytes, at::kBFloat16);
  EXPECT_FALSE(Load("a").ok());
  Open(kPeftBytes + kPeftBytes / 2, at::kBFloat16);
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
  EXPECT_EQ(ParseAdapterName("models/adapters/adapters/a"), (AdapterId{"adapters", "a"}));
  for (const char* name :
       {"", "a", "adapters/", "adapters/.a", "adapters/a/b", "adapters/../a", "models/m/a",
        "models//adapters/a", "models/m/adapters/", "adapters/a\nb", "adapters/\xff"}) {
    EXPECT_EQ(ParseAdapterName(name), std::nullopt) << name;
  }
  EXPECT_EQ(ParseAdapterName(absl::StrCat("adapters/", std::string(201, 'a'))), std::nullopt);
}

}  // namespace
}  // namespace denoise
