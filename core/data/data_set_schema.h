// What the file of a data set looks like. Internal to core/data.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

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

uint32_t Crc32(std::string_view bytes);

// Over all classes and pictures, in order. Throws SQLite::Exception.
uint32_t IndexChecksum(SQLite::Database& file);

}  // namespace denoise
