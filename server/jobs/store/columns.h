// Times, messages and optional values as columns of SQLite. May throw SQLite::Exception.
#pragma once

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Statement.h>
#include <google/protobuf/message_lite.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

inline void SetTimestamp(absl::Time time, google::protobuf::Timestamp& timestamp) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

inline absl::Time TimeOf(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

inline absl::Time TimeFromColumn(const SQLite::Column& column) {
  return absl::FromUnixNanos(column.getInt64());
}

inline void BindTime(SQLite::Statement& statement, int index, absl::Time time) {
  statement.bind(index, absl::ToUnixNanos(time));
}

inline void BindOptional(SQLite::Statement& statement, int index, std::optional<int64_t> value) {
  if (value) {
    statement.bind(index, *value);
  } else {
    statement.bind(index);
  }
}

inline void BindBlob(SQLite::Statement& statement, int index, const std::string& bytes) {
  statement.bind(index, bytes.data(), static_cast<int>(bytes.size()));
}

inline void BindMessage(SQLite::Statement& statement, int index,
                        const google::protobuf::MessageLite& message) {
  BindBlob(statement, index, message.SerializeAsString());
}

// DataLoss where the column holds no such message.
template <class Message>
absl::StatusOr<Message> ParseMessage(const SQLite::Column& column) {
  Message message;
  if (!message.ParseFromArray(column.getBlob(), column.getBytes())) {
    return absl::DataLossError("the server's state is damaged: a row cannot be read");
  }
  return message;
}

}  // namespace denoise
