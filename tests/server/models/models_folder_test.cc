#include "server/models/models_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/models/model_loader.h"
#include "server/models/models_root.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
namespace fs = std::filesystem;

const fs::path kReference = "tests/data/reference/unet";
constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

// A folder that is not served, and why.
struct BrokenModel {
  std::string folder;
  absl::Status status;
};

struct LoadedModels {
  std::vector<LoadedModelHandle> models;  // in order of folder
  std::vector<BrokenModel> broken;
};

class ModelsFolderTest : public testing::Test {
 protected:
  // A copy of a reference checkpoint, to be broken or not.
  fs::path Add(const std::string& folder, const std::string& reference = "gray-not-square") {
    const fs::path path = root_.path() / folder;
    fs::copy(kReference / reference, path, fs::copy_options::recursive);
    return path;
  }

  // As a server does at its start.
  LoadedModels Load() {
    EXPECT_EQ(Folder().Repair(), absl::OkStatus());
    const auto entries = Folder().List();
    EXPECT_TRUE(entries.ok()) << entries.status();
    LoadedModels loaded;
    for (const ModelEntry& entry : entries.value_or(std::vector<ModelEntry>())) {
      absl::StatusOr<LoadedModelHandle> model =
          entry.folder.ok() ? LoadModel(*entry.folder, entry.id, {}) : entry.folder.status();
      if (model.ok()) {
        loaded.models.push_back(*std::move(model));
      } else {
        loaded.broken.push_back({entry.name, model.status()});
      }
    }
    return loaded;
  }

  absl::Status Install(const std::string& id, const ModelsFolder::Writer& write) {
    return Folder().Install(
        id, write, [&](const fs::path& folder) { return LoadModel(folder, id, {}).status(); });
  }

  static std::map<std::string, ModelHandle> ById(const LoadedModels& loaded) {
    std::map<std::string, ModelHandle> models;
    for (const auto& model : loaded.models) models.emplace(model->model->id, model->model);
    return models;
  }

  // Adds a good model beside the broken one, and expects it alone to be served.
  std::string ReasonItIsLeftOut() {
    Add("good");
    const LoadedModels loaded = Load();
    EXPECT_THAT(ById(loaded), ElementsAre(Key("good")));
    if (loaded.broken.size() != 1) return "nothing was left out";
    EXPECT_EQ(loaded.broken[0].folder, "broken");
    const std::string reason(loaded.broken[0].status.message());
    EXPECT_THAT(reason, Not(HasSubstr(root_.path().string()))) << "no path leaks";
    return reason;
  }

  ModelsFolder Folder() const { return ModelsFolder(root_.path()); }

  TempDir root_;
};

TEST_F(ModelsFolderTest, LoadsEveryFolder) {
  Add("gray");
  Add("classes", "class-conditional-v");
  Add("old", "root-layout-old-names");
  const LoadedModels loaded = Load();
  EXPECT_THAT(loaded.broken, IsEmpty());
  const auto models = ById(loaded);
  ASSERT_THAT(models, ElementsAre(Key("classes"), Key("gray"), Key("old")));

  const ModelHandle classes = models.at("classes");
  EXPECT_EQ(classes->id, "classes");
  EXPECT_TRUE(classes->is_class_conditional());
  EXPECT_EQ(classes->default_sampler.prediction_type, PredictionType::kVPrediction);
  EXPECT_FALSE(classes->version.empty());
  const PipelineReplicas& pipelines = loaded.models[0]->pipelines;
  ASSERT_EQ(pipelines.size(), 1u);
  EXPECT_EQ(pipelines[0]->network->device(), at::Device(at::kCPU));
  EXPECT_EQ(classes->spec.num_parameters, pipelines[0]->network->spec().num_parameters);
  EXPECT_EQ(models.at("gray")->spec.sample.channels, 1);
  EXPECT_NE(models.at("gray")->version, classes->version);
}

TEST_F(ModelsFolderTest, PassesOverHiddenFoldersAndFiles) {
  Add("good");
  Add(".cache");
  WriteFile(root_.path() / "README.md", "# Models");
  const LoadedModels loaded = Load();
  EXPECT_EQ(loaded.models.size(), 1u);
  EXPECT_THAT(loaded.broken, IsEmpty());
}

TEST_F(ModelsFolderTest, PassesOverFoldersThatAreNeverModels) {
  Add("good");
  for (const char* name :
       {"lost+found", "@eaDir", "__MACOSX", "datasets--org--cats", "spaces--org--demo"}) {
    fs::create_directory(root_.path() / name);
  }
  const LoadedModels loaded = Load();
  EXPECT_EQ(loaded.models.size(), 1u);
  EXPECT_THAT(loaded.broken, IsEmpty());
}

TEST_F(ModelsFolderTest, LeavesOutAnEmptyFolder) {
  fs::create_directory(root_.path() / "broken");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("model_index.json"));
}

TEST_F(ModelsFolderTest, LeavesOutBrokenJson) {
  WriteFile(Add("broken") / "unet/config.json", "{\"in_channels\": ");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("unet/config.json"));
}

TEST_F(ModelsFolderTest, LeavesOutASchedulerThatItDoesNotKnow) {
  const fs::path index = Add("broken") / "model_index.json";
  std::string text = ReadFile(index);
  const std::string known = "DDPMScheduler";
  text.replace(text.find(known), known.size(), "MysteryScheduler");
  WriteFile(index, text);
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("model_index.json: scheduler: must be one of"));
}

TEST_F(ModelsFolderTest, LeavesOutTruncatedWeights) {
  const fs::path weights = Add("broken") / kWeights;
  fs::resize_file(weights, fs::file_size(weights) - 100);
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("safetensors"));
}

TEST_F(ModelsFolderTest, LeavesOutWeightsOfAnotherShape) {
  fs::copy_file(kReference / "class-conditional-v" / kWeights, Add("broken") / kWeights,
                fs::copy_options::overwrite_existing);
  EXPECT_NE(ReasonItIsLeftOut(), "nothing was left out");
}

TEST_F(ModelsFolderTest, LeavesOutMissingWeights) {
  fs::remove(Add("broken") / kWeights);
  EXPECT_NE(ReasonItIsLeftOut(), "nothing was left out");
}

TEST_F(ModelsFolderTest, LeavesOutAVarianceThatTheNetworkDoesNotPredict) {
  const fs::path scheduler = Add("broken") / "scheduler/scheduler_config.json";
  WriteFile(scheduler, R"({"_class_name": "DDPMScheduler", "variance_type": "learned_range"})");
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("variance"));
}

TEST_F(ModelsFolderTest, LeavesOutAFolderWhoseNameIsNoModelName) {
  Add("good");
  Add("not a name");
  const LoadedModels loaded = Load();
  EXPECT_EQ(loaded.models.size(), 1u);
  ASSERT_EQ(loaded.broken.size(), 1u);
  EXPECT_EQ(loaded.broken[0].folder, "not a name");
}

// A Hugging Face cache, as its library writes it: files are links to blobs.
class CacheTest : public ModelsFolderTest {
 protected:
  static constexpr char kHash[] = "0123456789abcdef0123456789abcdef01234567";

  fs::path Cache(const std::string& name, const std::string& snapshot = kHash) {
    const fs::path cached = root_.path() / name;
    const fs::path model = Add(".copies/" + name + snapshot);
    const fs::path blobs = cached / "blobs";
    fs::create_directories(blobs);
    for (const auto& entry : fs::recursive_directory_iterator(model)) {
      if (!entry.is_regular_file()) continue;
      const fs::path file = fs::relative(entry.path(), model);
      const std::string blob = std::to_string(std::hash<std::string>()(snapshot + file.string()));
      fs::copy_file(entry.path(), blobs / blob, fs::copy_options::overwrite_existing);
      const fs::path link = cached / "snapshots" / snapshot / file;
      fs::create_directories(link.parent_path());
      fs::create_symlink(fs::relative(blobs / blob, link.parent_path()), link);
    }
    return cached;
  }

  void PointMainTo(const fs::path& cached, const std::string& text) {
    fs::create_directories(cached / "refs");
    WriteFile(cached / "refs" / "main", text);
  }

  fs::path Add(const std::string& folder, const std::string& reference = "gray-not-square") {
    fs::create_directories((root_.path() / folder).parent_path());
    return ModelsFolderTest::Add(folder, reference);
  }
};

TEST_F(CacheTest, TheSnapshotThatMainNamesIsServed) {
  const fs::path cached = Cache("models--org--gray");
  fs::create_directories(cached / "snapshots" / "another");
  PointMainTo(cached, std::string(kHash) + "\n");
  WriteFile(root_.path() / "version.txt", "1");
  const LoadedModels loaded = Load();
  EXPECT_THAT(loaded.broken, IsEmpty());
  EXPECT_THAT(ById(loaded), ElementsAre(Key("org--gray")));
  const auto opened = Folder().Open("org--gray");
  EXPECT_TRUE(opened.ok()) << opened.status();
}

TEST_F(CacheTest, WithoutRefsTheOnlySnapshotIsServed) {
  Cache("models--gray");
  EXPECT_THAT(ById(Load()), ElementsAre(Key("gray")));
}

TEST_F(CacheTest, WhatCannotBeServedIsToldAsWhatItIs) {
  PointMainTo(Cache("models--a--gone"), "fedcba");
  PointMainTo(Cache("models--b--path"), "../../../etc");
  Cache("models--c--two");
  Cache("models--c--two", "second");
  PointMainTo(Cache("models--d--pruned"), kHash);
  fs::remove_all(root_.path() / "models--d--pruned" / "blobs");
  const LoadedModels loaded = Load();
  EXPECT_THAT(loaded.models, IsEmpty());
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"models--a--gone", "the snapshot \"fedcba\" that its refs/main names does not exist"},
      {"models--b--path", "refs/main does not name a snapshot"},
      {"models--c--two", "with 2 snapshots and no refs/main"},
      {"models--d--pruned", "model_index.json: is a link whose target does not exist"}};
  ASSERT_EQ(loaded.broken.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(loaded.broken[i].folder, expected[i].first);
    EXPECT_THAT(std::string(loaded.broken[i].status.message()), HasSubstr(expected[i].second));
    EXPECT_THAT(std::string(loaded.broken[i].status.message()),
                Not(HasSubstr(root_.path().string())));
  }
}

TEST_F(CacheTest, APipeInPlaceOfAReferenceIsNotWaitedFor) {
  const fs::path cached = Cache("models--gray");
  fs::create_directories(cached / "refs");
  ASSERT_EQ(mkfifo((cached / "refs" / "main").c_str(), 0600), 0);
  EXPECT_THAT(Load().models, IsEmpty());
}

TEST_F(CacheTest, AFolderOfItsOwnComesBeforeACachedModelOfThatName) {
  Cache("models--gray");
  Add("gray", "class-conditional-v");
  const LoadedModels loaded = Load();
  ASSERT_THAT(ById(loaded), ElementsAre(Key("gray")));
  EXPECT_EQ(loaded.models[0]->model->spec.sample.channels, 3);
  ASSERT_EQ(loaded.broken.size(), 1u);
  EXPECT_EQ(loaded.broken[0].folder, "models--gray");
}

struct WrongRoot {
  const char* code;
  const char* path;
  const char* told;
};

TEST_F(CacheTest, ARootThatIsNoFolderOfModelsIsToldAsWhatItIs) {
  Add("gray");
  Cache("models--org--gray");
  WriteFile(root_.path() / "file", "");
  fs::create_symlink("nowhere", root_.path() / "link");
  for (const WrongRoot& wrong :
       {WrongRoot{"M5", "absent", "the models folder does not exist"},
        WrongRoot{"M5", "link", "the models folder is a link whose target does not exist"},
        WrongRoot{"M5", "file", "the models folder is a file"},
        WrongRoot{"M5", "gray", "the models folder is a model itself"},
        WrongRoot{"M5", "models--org--gray", "is one model of a Hugging Face cache"}}) {
    const absl::Status status = ModelsFolder(root_.path() / wrong.path).List().status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(wrong.told)) << wrong.code;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(root_.path().string())));
  }
}

TEST_F(CacheTest, FoldersThatAreNoModelsAreToldAsWhatTheyAre) {
  fs::create_symlink("nowhere", root_.path() / "a-link");
  Cache("b-hub/models--org--gray");
  fs::rename(Add("c-part") / "model_index.json", root_.path() / "README.md");
  fs::rename(root_.path() / "c-part" / "unet" / "config.json",
             root_.path() / "c-part" / "config.json");
  fs::create_directory(root_.path() / "d-file");
  WriteFile(root_.path() / "d-file" / "model.ckpt", "PK");
  fs::create_directory(root_.path() / "e-\xff\xfe");
  fs::create_symlink("f-loop", root_.path() / "f-loop");
  const LoadedModels loaded = Load();
  EXPECT_THAT(loaded.models, IsEmpty());
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"a-link", "is a link whose target does not exist"},
      {"b-hub", "it holds models itself; give --models this folder"},
      {"c-part", "it is one part of a model"},
      {"d-file", "files of weights"},
      {"e-\\xff\\xfe", "a model's name is letters, digits and ._-"},
      {"f-loop", "cannot be examined"}};
  ASSERT_EQ(loaded.broken.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(loaded.broken[i].folder, expected[i].first);
    EXPECT_THAT(std::string(loaded.broken[i].status.message()), HasSubstr(expected[i].second));
  }
}

TEST_F(ModelsFolderTest, LeavesOutWeightsThatAreNotFinite) {
  const fs::path weights = Add("broken", "class-conditional-v") / kWeights;
  std::string bytes = ReadFile(weights);
  bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\x7f");  // NaN in float32 and in float16
  fs::permissions(weights, fs::perms::owner_write, fs::perm_options::add);
  WriteFile(weights, bytes);
  EXPECT_THAT(ReasonItIsLeftOut(), HasSubstr("values that are NaN, infinite or beyond float32"));
}

TEST_F(ModelsFolderTest, AFolderOfFilesSaysWhatTheyAre) {
  EXPECT_EQ(WhatIsInPlaceOfModels(root_.path()), "is empty");
  WriteFile(root_.path() / "README.md", "");
  EXPECT_EQ(WhatIsInPlaceOfModels(root_.path()), "holds no model");
  WriteFile(root_.path() / "sd15.safetensors", "");
  EXPECT_THAT(WhatIsInPlaceOfModels(root_.path()),
              HasSubstr("holds the file \"sd15.safetensors\"; convert it with `denoise convert`"));
  WriteFile(root_.path() / "config.json", "");
  EXPECT_THAT(WhatIsInPlaceOfModels(root_.path()), HasSubstr("is one part of a model"));
}

TEST_F(ModelsFolderTest, AnAbsentRootIsAnError) {
  EXPECT_EQ(ModelsFolder(root_.path() / "absent").List().status().code(),
            absl::StatusCode::kNotFound);
}

class InstallTest : public ModelsFolderTest {
 protected:
  // The versions are told apart by their channels.
  static constexpr char kOld[] = "gray-not-square";      // 1
  static constexpr char kNew[] = "class-conditional-v";  // 3

  static ModelsFolder::Writer Copy(const std::string& reference) {
    return [reference](const fs::path& folder) {
      fs::copy(kReference / reference, folder, fs::copy_options::recursive);
      return absl::OkStatus();
    };
  }

  std::vector<std::string> Entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::erase(names, ".lock");
    return names;
  }
};

TEST_F(InstallTest, ANewModelStaysThereAfterARestart) {
  ASSERT_EQ(Install("m", Copy(kNew)), absl::OkStatus());
  EXPECT_THAT(Entries(), ElementsAre("m"));
  EXPECT_EQ(ById(Load()).at("m")->spec.sample.channels, 3);
}

TEST_F(InstallTest, ANewVersionTakesTheName) {
  Add("m", kOld);
  ASSERT_EQ(Install("m", Copy(kNew)), absl::OkStatus());
  EXPECT_THAT(Entries(), ElementsAre("m"));
  EXPECT_EQ(ById(Load()).at("m")->spec.sample.channels, 3);
}

TEST_F(InstallTest, AVersionThatDoesNotLoadNeverTakesTheName) {
  Add("m", kOld);
  const auto truncated = [](const fs::path& folder) {
    fs::copy(kReference / kNew, folder, fs::copy_options::recursive);
    fs::resize_file(folder / kWeights, 1000);
    return absl::OkStatus();
  };
  EXPECT_EQ(Install("m", truncated).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Entries(), ElementsAre("m"));
  EXPECT_EQ(ById(Load()).at("m")->spec.sample.channels, 1);
}

TEST_F(InstallTest, AVersionThatCannotBeWrittenLeavesNothing) {
  const auto full = [](const fs::path& folder) {
    fs::create_directory(folder);
    WriteFile(folder / "model_index.json", "{}");
    return absl::ResourceExhaustedError("the disk is full");
  };
  EXPECT_EQ(Install("m", full), absl::ResourceExhaustedError("the disk is full"));
  EXPECT_THAT(Entries(), IsEmpty());
}

TEST_F(InstallTest, TakesNothingForANameThatIsNone) {
  for (const char* id : {"", "..", "../m", ".incoming", ".replaced", "a/b", "a@", "a@0", "a@1/b"}) {
    EXPECT_EQ(Install(id, Copy(kNew)).code(), absl::StatusCode::kInvalidArgument) << id;
  }
  EXPECT_THAT(Entries(), IsEmpty());
}

// Nobody can make a file there, not even root.
TEST_F(InstallTest, AFolderThatCannotBeWrittenToIsAFailedPrecondition) {
  const absl::Status status =
      ModelsFolder("/sys").Install("m", Copy(kNew), [](const auto&) { return absl::OkStatus(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("/sys")));
}

TEST_F(InstallTest, ReplacesALinkAndNotWhatItLeadsTo) {
  const TempDir elsewhere;
  fs::copy(kReference / kOld, elsewhere.path(), fs::copy_options::recursive);
  fs::create_directory_symlink(elsewhere.path(), root_.path() / "m");
  ASSERT_EQ(Install("m", Copy(kNew)), absl::OkStatus());
  EXPECT_FALSE(fs::is_symlink(root_.path() / "m"));
  EXPECT_TRUE(fs::exists(elsewhere.path() / kWeights));
}

TEST_F(InstallTest, SeveralAtOnceLeaveOneWholeVersion) {
  std::vector<std::future<absl::Status>> installs;
  for (int i = 0; i < 6; ++i) {
    installs.push_back(std::async(
        std::launch::async, [this, i] { return Install("m", Copy(i % 2 == 0 ? kOld : kNew)); }));
  }
  for (auto& install : installs) EXPECT_EQ(install.get(), absl::OkStatus());
  EXPECT_TRUE(ById(Load()).contains("m"));
  EXPECT_THAT(Entries(), ElementsAre("m"));
}

TEST_F(InstallTest, ADeletedModelIsGone) {
  Add("m");
  Add("m@2");
  EXPECT_EQ(Folder().Delete("m@2"), absl::OkStatus());
  EXPECT_THAT(Entries(), ElementsAre("m"));
  EXPECT_EQ(Folder().Delete("m@2").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Folder().Delete("../x").code(), absl::StatusCode::kNotFound);
}

TEST_F(InstallTest, DeletingALinkLeavesWhatItLeadsTo) {
  const TempDir elsewhere;
  fs::copy(kReference / kOld, elsewhere.path(), fs::copy_options::recursive);
  fs::create_directory_symlink(elsewhere.path(), root_.path() / "m");
  EXPECT_EQ(Folder().Delete("m"), absl::OkStatus());
  EXPECT_THAT(Entries(), IsEmpty());
  EXPECT_TRUE(fs::exists(elsewhere.path() / kWeights));
}

TEST_F(InstallTest, OnlyModelsAreDeleted) {
  fs::create_directory(root_.path() / "photos");
  WriteFile(root_.path() / "photos" / "cat.png", "");
  EXPECT_EQ(Folder().Delete("photos").code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Entries(), ElementsAre("photos"));
}

TEST_F(CacheTest, ACachedModelIsNotDeletedUnderAnyName) {
  Cache("models--gray");
  EXPECT_EQ(Folder().Delete("gray").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Folder().Delete("models--gray").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Folder().Find("models--gray").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ById(Load()), ElementsAre(Key("gray")));
}

TEST_F(ModelsFolderTest, LinksInPlaceOfItsHiddenFoldersAreRemovedAndNotFollowed) {
  const TempDir elsewhere;
  fs::copy(kReference / "gray-not-square", elsewhere.path() / "m", fs::copy_options::recursive);
  for (const char* hidden : {".replaced", ".deleted", ".incoming"}) {
    fs::create_directory_symlink(elsewhere.path(), root_.path() / hidden);
  }
  EXPECT_THAT(Load().models, IsEmpty());
  EXPECT_TRUE(fs::exists(elsewhere.path() / "m"));
}

TEST_F(ModelsFolderTest, ADeletionThatACrashInterruptedIsFinished) {
  fs::create_directory(root_.path() / ".deleted");
  Add(".deleted/m");
  EXPECT_THAT(Load().models, IsEmpty());
  EXPECT_FALSE(fs::exists(root_.path() / ".deleted"));
}

// The folders that a crash leaves at each step of an install, and what the next start serves.
struct Crash {
  const char* when;
  const char* named;     // the version under the name, if any
  const char* incoming;  // and under the hidden ones
  const char* replaced;
  bool incomplete = false;  // what is incoming lacks its weights
  const char* serves;
};

class InterruptedInstallTest : public InstallTest {
 protected:
  void Put(const char* version, const fs::path& folder) {
    if (version == nullptr) return;
    fs::create_directories((root_.path() / folder).parent_path());
    Add(folder.string(), version);
  }

  static int64_t Channels(const char* version) { return version == kOld ? 1 : 3; }
};

TEST_F(InterruptedInstallTest, LeavesOneCompleteModelWhereverItHappens) {
  const Crash crashes[] = {
      {"writing", kOld, kNew, nullptr, true, kOld},
      {"written and loaded", kOld, kNew, nullptr, false, kOld},
      {"the old one is away", nullptr, kNew, kOld, false, kOld},
      {"the new one is there", kNew, nullptr, kOld, false, kNew},
      {"the old one is removed", kNew, nullptr, nullptr, false, kNew},
      {"writing the first", nullptr, kNew, nullptr, true, nullptr},
      {"the first is loaded", nullptr, kNew, nullptr, false, nullptr},
      {"the first is there", kNew, nullptr, nullptr, false, kNew},
  };
  for (const Crash& crash : crashes) {
    SCOPED_TRACE(crash.when);
    for (const auto& entry : fs::directory_iterator(root_.path())) fs::remove_all(entry);
    fs::create_directory(root_.path() / ".incoming");
    fs::create_directory(root_.path() / ".replaced");
    Put(crash.named, "m");
    Put(crash.incoming, ".incoming/m");
    if (crash.incomplete) fs::remove(root_.path() / ".incoming/m" / kWeights);
    Put(crash.replaced, ".replaced/m");

    const LoadedModels loaded = Load();
    EXPECT_THAT(loaded.broken, IsEmpty());
    if (crash.serves == nullptr) {
      EXPECT_THAT(loaded.models, IsEmpty());
      EXPECT_THAT(Entries(), IsEmpty());
    } else {
      ASSERT_EQ(loaded.models.size(), 1u);
      EXPECT_EQ(loaded.models[0]->model->spec.sample.channels, Channels(crash.serves));
      EXPECT_THAT(Entries(), ElementsAre("m"));
    }
  }
}

TEST_F(InterruptedInstallTest, TheNextInstallRepairsItToo) {
  Put(kNew, ".incoming/m");
  Put(kOld, ".replaced/m");
  ASSERT_EQ(Install("other", Copy(kNew)), absl::OkStatus());
  EXPECT_THAT(Entries(), testing::UnorderedElementsAre("m", "other"));
  EXPECT_EQ(ById(Load()).at("m")->spec.sample.channels, 1);
}

}  // namespace
}  // namespace denoise
