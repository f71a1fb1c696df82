#include "core/data/data_set_schema.h"

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Statement.h>
#include <zlib.h>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

uint32_t Extend(uint32_t crc, std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

uint32_t Crc32(std::string_view bytes) { return Extend(0, bytes); }

uint32_t IndexChecksum(SQLite::Database& file) {
  uint32_t crc = 0;
  for (const char* query : {"SELECT label, name, 0 FROM classes ORDER BY label",
                            "SELECT id, name, label FROM pictures ORDER BY id"}) {
    SQLite::Statement rows(file, query);
    while (rows.executeStep()) {
      const SQLite::Column name = rows.getColumn(1);
      // Lengths keep rows apart.
      crc = Extend(crc, absl::StrCat(rows.getColumn(0).getInt64(), " ",
                                     rows.getColumn(2).getInt64(), " ", name.getBytes(), " "));
      crc = Extend(
          crc, {static_cast<const char*>(name.getBlob()), static_cast<size_t>(name.getBytes())});
    }
  }
  return crc;
}

}  // namespace denoise
