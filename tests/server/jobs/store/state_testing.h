// A server's state in a temporary folder, for tests that end servers in the middle of something.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "server/jobs/store/database.h"
#include "server/jobs/store/event_feed.h"
#include "server/jobs/store/job_store.h"
#include "server/jobs/store/state_dir.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace denoise {

// An open state folder. What it holds at any moment is what a crash would leave.
struct OpenState {
  explicit OpenState(const std::filesystem::path& path)
      : state(Unwrap(StateDir::Open(path))),
        database(Unwrap(Database::Open(state.database()))),
        jobs(database.get(), &feed, &clock, /*observer=*/nullptr) {}

  template <class T>
  static T Unwrap(absl::StatusOr<T> result) {
    if (!result.ok()) {
      ADD_FAILURE() << result.status();
      std::abort();
    }
    return *std::move(result);
  }

  FakeClock clock;
  StateDir state;
  std::unique_ptr<Database> database;
  EventFeed feed;
  JobStore jobs;
};

// What a machine that loses its power now would find: a copy of the files as they are.
inline void CopyState(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

}  // namespace denoise
