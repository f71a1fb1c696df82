#include "server/jobs/store/database.h"

#include <SQLiteCpp/Statement.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "server/jobs/store/schema.h"
#include "tests/core/files/full_disk.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class DatabaseTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(Database::Open(path()).ok()); }

  std::filesystem::path path() const { return temp_.path() / "state.db"; }
  // As somebody else would.
  void Execute(const std::string& sql) {
    SQLite::Database(path().string(), SQLite::OPEN_READWRITE).exec(sql);
  }
  void ExpectRefused(absl::StatusCode code, const std::string& why) {
    const absl::Status status = Database::Open(path()).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path().string()));
  }

  TempDir temp_;
};

absl::StatusOr<int> CountIds(Database& database) {
  return database.Read([](SQLite::Database& connection) -> absl::StatusOr<int> {
    return connection.execAndGet("SELECT count(*) FROM ids").getInt();
  });
}

absl::Status InsertId(Database& database, const std::string& kind) {
  return database.Write([&](SQLite::Database& connection) {
    SQLite::Statement row(connection, "INSERT INTO ids VALUES (?, 1)");
    row.bind(1, kind);
    row.exec();
    return absl::OkStatus();
  });
}

TEST_F(DatabaseTest, WhatWasWrittenIsThereAgain) {
  ASSERT_TRUE(InsertId(**Database::Open(path()), "job").ok());

  EXPECT_EQ(*CountIds(**Database::Open(path())), 1);
}

TEST_F(DatabaseTest, AFileOfAnOlderVersionIsBroughtUpToDate) {
  std::filesystem::remove(path());
  {
    SQLite::Database older(path().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    older.exec(Migrations()[0]);
    older.exec("PRAGMA user_version = 1");
    older.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
    older.exec(
        "INSERT INTO jobs VALUES (7, 2, '', 0, 0, 1, 5, 'retry', '', x'', 1, 2, NULL, 30, 20, 4)");
  }

  const auto opened = Database::Open(path());

  ASSERT_TRUE(opened.ok()) << opened.status();
  const auto row = (*opened)->Read([](SQLite::Database& connection) -> absl::StatusOr<std::string> {
    return connection
        .execAndGet(
            "SELECT priority || ' ' || steps_done || ' ' || checkpoint_step || ' ' || "
            "last_sequence || ' '"
            " || lost_runs || ' ' || ifnull(rolled_back_to, 'none')"
            " || ' [' || tenant || '] ' || request_id FROM jobs")
        .getString();
  });
  EXPECT_EQ(*row, "5 30 20 4 0 9223372036854775807 [] retry");
}

TEST_F(DatabaseTest, AnErrorUndoesTheWholeTransaction) {
  auto database = *Database::Open(path());

  const absl::Status status = database->Write([](SQLite::Database& connection) {
    connection.exec("INSERT INTO ids VALUES ('job', 1)");
    return absl::FailedPreconditionError("changed my mind");
  });

  EXPECT_EQ(status.message(), "changed my mind");
  EXPECT_EQ(*CountIds(*database), 0);
}

TEST_F(DatabaseTest, AFullDiskIsAnErrorAndNothingIsHalfDone) {
  auto database = *Database::Open(path());
  ASSERT_TRUE(InsertId(*database, "before").ok());
  {
    const FullDisk full(8 << 10, FullDisk::Then::kError);
    const absl::Status status = InsertId(*database, std::string(1 << 20, 'x'));
    EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
    EXPECT_EQ(status.message().find("state.db"), absl::string_view::npos);
  }
  EXPECT_EQ(*CountIds(*database), 1);
  EXPECT_TRUE(InsertId(*database, "after").ok());
}

TEST_F(DatabaseTest, CommitsAreSyncedToTheDisk) {
  auto database = *Database::Open(path());
  const auto pragma = [&](const std::string& name) {
    return *database->Read([&](SQLite::Database& connection) -> absl::StatusOr<std::string> {
      return connection.execAndGet("PRAGMA " + name).getString();
    });
  };

  EXPECT_EQ(pragma("journal_mode"), "wal");
  EXPECT_EQ(pragma("synchronous"), "2");  // FULL
  EXPECT_EQ(pragma("foreign_keys"), "1");
}

TEST_F(DatabaseTest, AFileOfANewerVersionIsRefused) {
  Execute("PRAGMA user_version = 1000");

  ExpectRefused(absl::StatusCode::kFailedPrecondition, "newer version");
}

TEST_F(DatabaseTest, AFileOfAnotherProgramIsRefused) {
  Execute("PRAGMA application_id = 7");

  ExpectRefused(absl::StatusCode::kDataLoss, "not made by this program");
}

TEST_F(DatabaseTest, ATriggerThatSomebodyAddedIsRefused) {
  Execute("CREATE TRIGGER evil AFTER INSERT ON jobs BEGIN DELETE FROM events; END");

  ExpectRefused(absl::StatusCode::kDataLoss, "not those of this program");
}

TEST_F(DatabaseTest, ARowThatRefersToNothingIsRefused) {
  Execute("PRAGMA foreign_keys = OFF; INSERT INTO events VALUES (7, 1, 3, NULL, x'')");

  ExpectRefused(absl::StatusCode::kDataLoss, "refers to one that is missing");
}

TEST_F(DatabaseTest, NoDatabaseAtAllIsRefused) {
  WriteFile(path(), std::string(10000, 'x'));

  ExpectRefused(absl::StatusCode::kDataLoss, "cannot be used");
}

TEST_F(DatabaseTest, DamagedPagesAreRefused) {
  std::string bytes = ReadFile(path());
  ASSERT_GT(bytes.size(), size_t{8192});
  for (size_t i = 4096; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31);
  WriteFile(path(), bytes);

  ExpectRefused(absl::StatusCode::kDataLoss, "cannot be used");
}

TEST_F(DatabaseTest, AnEmptyFileIsANewDatabase) {
  WriteFile(path(), "");

  EXPECT_TRUE(Database::Open(path()).ok());
}

}  // namespace
}  // namespace denoise
