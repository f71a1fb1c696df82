// Whatever becomes of the database, nothing that was uploaded is deleted.
#include "server/jobs/datasets/data_set_recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>

#include "server/jobs/store/id_folders.h"
#include "server/jobs/store/state_database.h"
#include "server/jobs/store/state_manifest.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"
#include "tests/support/unreadable.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using denoised::v1::Dataset;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class DataSetRecoveryTest : public DataSetStoreTest {
 protected:
  fs::path folder() const { return temp_.path() / "state"; }
  fs::path database() const { return folder() / "state.db"; }

  void StopServer() {
    store_.reset();
    open_.reset();
  }
  // Starts a server on what it finds, as OpenStateDatabase does.
  void StartServer() {
    observer_.lines.clear();
    {
      FakeClock clock;
      const StateDir state = *StateDir::Open(folder());
      SetAside set_aside(&state, &clock, &observer_);
      ASSERT_TRUE(OpenStateDatabase(state, set_aside).ok());
    }
    Open();
    // What was stored is verified on a thread of the reader.
    for (const char* name : {"datasets/emoji", "datasets/cats"}) {
      while (Get(name).ok() && Get(name)->state() == Dataset::READING) std::this_thread::yield();
    }
  }

  // Everything below the state folder, apart from the database's own files and the reserve.
  std::set<std::string> Files() const {
    std::set<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder())) {
      const std::string name = entry.path().filename().string();
      const bool is_ours = name.starts_with("state.db") || name == "lock" || name == "reserve";
      if (entry.is_regular_file() && !is_ours) {
        files.insert(entry.path().lexically_relative(folder()).string());
      }
    }
    return files;
  }

  void ExpectReady(const std::string& name, const std::string& bytes) {
    const auto stored = store_->FindReady(name, Anyone());
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(ReadFile(stored->path), bytes);
    EXPECT_EQ(stored->data_set.report().pictures(), static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(stored->data_set.stored_bytes(), static_cast<int64_t>(bytes.size()));
  }
};

struct DamageCase {
  const char* name;
  std::function<void(const fs::path& database)> damage;
  const char* set_aside;  // besides the data sets; may be empty
};

const std::vector<DamageCase>& DamageCases() {
  static const auto* const cases = new std::vector<DamageCase>{
      {"removed", [](const fs::path& path) { fs::remove(path); }, ""},
      {"truncated to nothing", [](const fs::path& path) { fs::resize_file(path, 0); }, ""},
      {"truncated within its header", [](const fs::path& path) { fs::resize_file(path, 50); },
       "state.db"},
      {"truncated to a page", [](const fs::path& path) { fs::resize_file(path, 4096); },
       "state.db"},
      {"overwritten", [](const fs::path& path) { WriteFile(path, std::string(9000, 'x')); },
       "state.db"},
      {"another program's",
       [](const fs::path& path) {
         fs::remove(path);
         SQLite::Database(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
             .exec("CREATE TABLE t (x)");
       },
       "state.db"},
  };
  return *cases;
}

// P11: the database is damaged or lost.
TEST_F(DataSetRecoveryTest, DataSetsOutliveTheirDatabase) {
  for (const DamageCase& c : DamageCases()) {
    SCOPED_TRACE(c.name);
    StopServer();
    fs::remove_all(folder());
    Open();
    ASSERT_TRUE(Upload("pictures").ok());
    {
      auto upload = *store_->BeginUpload(HeaderOf("0123456789", "datasets/cats"), Anyone());
      ASSERT_TRUE(upload->Append(Chunk("0123")).ok());
    }
    const std::set<std::string> before = Files();
    StopServer();
    c.damage(database());

    StartServer();

    ExpectReady("datasets/emoji", "pictures");
    EXPECT_EQ(Get("datasets/cats")->state(), Dataset::UPLOADING);
    EXPECT_EQ(Get("datasets/cats")->received_bytes(), 4);
    EXPECT_EQ(Files(), before);
    EXPECT_THAT(observer_.lines, Contains("taken up again datasets/emoji"));
    EXPECT_THAT(observer_.lines, Contains("taken up again datasets/cats"));
    if (std::string(c.set_aside) != "") {
      EXPECT_THAT(observer_.lines, Contains(StartsWith("set aside set-aside/")));
      EXPECT_TRUE(
          fs::exists(folder() / "set-aside" /
                     absl::FormatTime("%Y%m%dT%H%M%SZ", FakeClock().Now(), absl::UTCTimeZone()) /
                     c.set_aside));
    }
    EXPECT_TRUE(Upload("0123456789", 4, "datasets/cats").ok());
    const int64_t taken[] = {store_->FindReady("datasets/emoji", Anyone())->id,
                             store_->FindReady("datasets/cats", Anyone())->id};
    EXPECT_THAT(taken, ElementsAre(1, 2));
  }
}

TEST_F(DataSetRecoveryTest, ADatabaseFromElsewhereTakesNothingOver) {
  ASSERT_TRUE(Upload("pictures").ok());
  StopServer();
  fs::rename(folder(), temp_.path() / "ours");
  Open();
  ASSERT_TRUE(Upload("others", 0, "datasets/cats").ok());  // has the same id
  StopServer();
  fs::copy_file(database(), temp_.path() / "ours" / "state.db",
                fs::copy_options::overwrite_existing);
  fs::remove_all(folder());
  fs::rename(temp_.path() / "ours", folder());

  StartServer();

  ExpectReady("datasets/emoji", "pictures");
  EXPECT_EQ(Get("datasets/cats")->state(), Dataset::FAILED);
  EXPECT_THAT(Get("datasets/cats")->error(), HasSubstr("upload it again"));
  EXPECT_THAT(observer_.lines, Contains("FAILED datasets/cats"));
  EXPECT_TRUE(Upload("others", 0, "datasets/cats").ok());
  ExpectReady("datasets/emoji", "pictures");
  ExpectReady("datasets/cats", "others");
}

TEST_F(DataSetRecoveryTest, AnOlderDatabaseCatchesUpWithTheFiles) {
  {
    auto upload = *store_->BeginUpload(HeaderOf("pictures"), Anyone());
    ASSERT_TRUE(upload->Append(Chunk("pict")).ok());
  }
  StopServer();
  fs::copy_file(database(), temp_.path() / "backup.db");
  Open();
  ASSERT_TRUE(Upload("pictures", 4).ok());
  ASSERT_TRUE(Upload("others", 0, "datasets/cats").ok());
  StopServer();
  fs::copy_file(temp_.path() / "backup.db", database(), fs::copy_options::overwrite_existing);

  StartServer();

  ExpectReady("datasets/emoji", "pictures");
  ExpectReady("datasets/cats", "others");
}

TEST_F(DataSetRecoveryTest, WhatDoesNotDescribeItselfIsSetAside) {
  StopServer();
  const fs::path data_sets = folder() / "datasets";
  fs::create_directories(data_sets / "77");
  WriteFile(data_sets / "77" / "stored", "pictures of an old version");
  fs::create_directories(data_sets / "78");
  WriteFile(data_sets / "78" / "manifest.json", "{\"version\": 1, \"name\": \"../x\"}");
  WriteFile(data_sets / "notes.txt", "mine");

  StartServer();

  EXPECT_THAT(observer_.lines.size(), 3u);
  const fs::path aside = folder() / std::string(observer_.lines[1].substr(10));
  EXPECT_EQ(ReadFile(aside / "stored"), "pictures of an old version");
  EXPECT_FALSE(fs::exists(data_sets / "77"));
  EXPECT_FALSE(fs::exists(data_sets / "notes.txt"));
  EXPECT_EQ(ReadFile(folder() / std::string(observer_.lines[0].substr(10))), "mine");
}

TEST_F(DataSetRecoveryTest, PicturesThatAreNotThoseOfTheManifestAreKeptButNotUsed) {
  ASSERT_TRUE(Upload("pictures").ok());
  StopServer();
  fs::remove(database());
  WriteFile(folder() / "datasets" / "1" / "stored", "pictureZ");

  StartServer();

  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  EXPECT_THAT(Get()->error(), HasSubstr("damaged"));
  EXPECT_EQ(ReadFile(folder() / "datasets" / "1" / "stored.damaged"), "pictureZ");
}

// Whether or not the database knows the data set, a start does not guess.
TEST_F(DataSetRecoveryTest, WhatCannotBeReadNowIsNotLost) {
  for (const bool has_database : {true, false}) {
    ASSERT_TRUE(Upload("pictures").ok());
    const fs::path data_set =
        open_->state.data_set(store_->FindReady("datasets/emoji", Anyone())->id);
    StopServer();
    if (!has_database) fs::remove(database());
    for (const fs::path& path : {data_set, data_set / "manifest.json", data_set / "stored"}) {
      SCOPED_TRACE(path);
      const Unreadable unreadable(path);
      open_ = std::make_unique<OpenState>(folder());
      SetAside set_aside(&open_->state, &open_->clock, &observer_);
      const absl::Status recovered = RecoverDataSets(*open_->database, open_->state, set_aside);
      EXPECT_EQ(recovered.code(), absl::StatusCode::kUnavailable) << recovered;
      open_.reset();
    }

    StartServer();

    ExpectReady("datasets/emoji", "pictures");
    ASSERT_TRUE(Delete().ok());
  }
}

TEST_F(DataSetRecoveryTest, TheFileSystemsOwnFolderStaysWhereItIs) {
  StopServer();
  fs::create_directory(folder() / "datasets" / "lost+found");
  StartServer();
  EXPECT_TRUE(fs::exists(folder() / "datasets" / "lost+found"));
}

TEST_F(DataSetRecoveryTest, NothingIsDeletedWhileItsFolderIsAway) {
  ASSERT_TRUE(Upload("pictures").ok());
  fs::rename(folder() / "datasets", folder() / "elsewhere");
  EXPECT_EQ(Delete().code(), absl::StatusCode::kUnavailable);
  fs::rename(folder() / "elsewhere", folder() / "datasets");
  ExpectReady("datasets/emoji", "pictures");
}

TEST_F(DataSetRecoveryTest, ADataSetWhoseFilesComeBackIsReadyAgain) {
  ASSERT_TRUE(Upload("pictures").ok());
  StopServer();
  fs::rename(folder() / "datasets" / "1", folder() / "elsewhere");
  StartServer();
  EXPECT_EQ(Get()->state(), Dataset::FAILED);
  StopServer();
  fs::rename(folder() / "elsewhere", folder() / "datasets" / "1");

  StartServer();

  ExpectReady("datasets/emoji", "pictures");
}

// The steps of a deletion: marked; row gone; files gone.
TEST_F(DataSetRecoveryTest, ADeletionIsFinishedWhereverTheServerEnds) {
  for (const bool files_gone : {false, true}) {
    SCOPED_TRACE(files_gone);
    ASSERT_TRUE(Upload("pictures").ok());
    const int64_t id = store_->FindReady("datasets/emoji", Anyone())->id;
    StopServer();
    ASSERT_TRUE(MarkRemoved(folder() / "datasets", id).ok());
    if (files_gone) {
      ASSERT_TRUE(EmptyRemoved(folder() / "datasets", id).ok());
    }

    StartServer();

    EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(Files(), IsEmpty());
    EXPECT_FALSE(fs::exists(RemovedPath(folder() / "datasets", id)));
  }
}

// Also where the database is gone, what was deleted does not come back.
TEST_F(DataSetRecoveryTest, WhatWasDeletedStaysDeletedWithoutTheDatabase) {
  ASSERT_TRUE(Upload("pictures").ok());
  StopServer();
  ASSERT_TRUE(MarkRemoved(folder() / "datasets", 1).ok());
  fs::remove(database());

  StartServer();

  EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Files(), IsEmpty());
}

// A reading ends in four writes: stored, manifest, row, and the upload goes.
TEST_F(DataSetRecoveryTest, AReadingIsFinishedWhereverTheServerEnds) {
  ASSERT_TRUE(Upload("pictures").ok());
  const StateManifest complete = **ReadStateManifest(folder() / "datasets" / "1");
  StateManifest begun = complete;
  begun.stored.reset();
  struct {
    const char* name;
    bool has_row;
    bool has_manifest;
  } cases[] = {{"after stored", false, false},
               {"after the manifest", false, true},
               {"after the row", true, true}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    WriteFile(open_->state.data_set(1) / "upload", "pictures");
    ASSERT_TRUE(
        WriteStateManifest(open_->state.data_set(1), c.has_manifest ? complete : begun).ok());
    const Dataset ready = *Get();
    ASSERT_TRUE(open_->database
                    ->Write([&](SQLite::Database& connection) {
                      const auto state = c.has_row ? Dataset::READY : Dataset::READING;
                      WriteDataSetState(connection, 1, state, "", &ready.report());
                      return absl::OkStatus();
                    })
                    .ok());
    const int reads = ingest_.reads;
    StopServer();
    StartServer();

    EXPECT_EQ(ingest_.reads, reads + (c.has_manifest ? 0 : 1));
    EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji", Anyone())->path), "pictures");
    const fs::path upload = open_->state.data_set(1) / "upload";
    StopServer();  // which waits for what is removed behind the caller's back
    EXPECT_FALSE(fs::exists(upload));
    StartServer();
  }
}

}  // namespace
}  // namespace denoise
