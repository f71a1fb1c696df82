// The format of a stored data set: an SQLite file. Internal to core/data.
#pragma once

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>
#include <zlib.h>

#include <cstdint>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace denoise {

inline constexpr int kDataSetApplicationId = 0x64736574;  // "dset"
inline constexpr int kDataSetVersion = 1;

inline constexpr char kDataSetSchema[] = R"(
CREATE TABLE classes (label INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, label INTEGER NOT NULL, name TEXT NOT NULL);
CREATE TABLE encoded (id INTEGER PRIMARY KEY, crc32 INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
)";

// Keys of meta.
inline constexpr char kPicturesKey[] = "pictures";
inline constexpr char kIndexChecksumKey[] = "index_crc32";

inline uint32_t ExtendCrc32(uint32_t crc, std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

inline uint32_t Crc32(std::string_view bytes) { return ExtendCrc32(0, bytes); }

// Over all classes and pictures, in order. Throws SQLite::Exception.
inline uint32_t IndexChecksum(SQLite::Database& file) {
  uint32_t crc = 0;
  for (const char* query : {"SELECT label, name, 0 FROM classes ORDER BY label",
                            "SELECT id, name, label FROM pictures ORDER BY id"}) {
    SQLite::Statement rows(file, query);
    while (rows.executeStep()) {
      const SQLite::Column name = rows.getColumn(1);
      // The length keeps this row's name apart from the next row.
      crc = ExtendCrc32(crc, absl::StrCat(rows.getColumn(0).getInt64(), " ",
                                          rows.getColumn(2).getInt64(), " ", name.getBytes(), " "));
      crc = ExtendCrc32(
          crc, {static_cast<const char*>(name.getBlob()), static_cast<size_t>(name.getBytes())});
    }
  }
  return crc;
}

}  // namespace denoise
