// Zip archives, also ones that no program would write.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

namespace denoise {

inline std::string LittleEndian(uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i));
  return text;
}

inline std::string Deflated(const std::string& bytes) {
  std::string packed(compressBound(bytes.size()) + 64, '\0');
  z_stream stream = {};
  deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

struct ZipMember {
  std::string name;
  std::string data;
  uint16_t method = 8;
  uint16_t flags = 0;
  bool zip64 = false;          // sizes and places stand in its extra field
  bool descriptor = false;     // its sizes follow its data
  uint32_t attributes = 0;     // of Unix, where not 0
  uint32_t crc_mask = 0;       // what is wrong with its checksum
  int64_t claimed_bytes = -1;  // where not what `data` has
  int64_t offset = -1;         // where not the real one
  std::string extra = {};
};

inline std::string Zip(const std::vector<ZipMember>& members, const std::string& comment = "",
                       bool zip64_end = false) {
  std::string bytes, list;
  for (const ZipMember& m : members) {
    const std::string packed = m.method == 8 ? Deflated(m.data) : m.data;
    const auto crc = static_cast<uint32_t>(
        crc32_z(0, reinterpret_cast<const Bytef*>(m.data.data()), m.data.size()) ^ m.crc_mask);
    const uint64_t size =
        m.claimed_bytes >= 0 ? static_cast<uint64_t>(m.claimed_bytes) : m.data.size();
    const uint64_t offset = m.offset >= 0 ? static_cast<uint64_t>(m.offset) : bytes.size();
    const auto flags = static_cast<uint16_t>(m.flags | (m.descriptor ? 8 : 0));
    const std::string at_front =
        m.descriptor
            ? std::string(12, '\0')
            : LittleEndian(crc, 4) + LittleEndian(packed.size(), 4) + LittleEndian(size, 4);
    bytes += LittleEndian(0x04034b50, 4) + LittleEndian(20, 2) + LittleEndian(flags, 2) +
             LittleEndian(m.method, 2) + LittleEndian(0, 4) + at_front +
             LittleEndian(m.name.size(), 2) + LittleEndian(0, 2) + m.name + packed;
    if (m.descriptor) {
      bytes += LittleEndian(0x08074b50, 4) + LittleEndian(crc, 4) + LittleEndian(packed.size(), 4) +
               LittleEndian(size, 4);
    }
    std::string extra = m.extra;
    if (m.zip64) {
      extra += LittleEndian(1, 2) + LittleEndian(24, 2) + LittleEndian(size, 8) +
               LittleEndian(packed.size(), 8) + LittleEndian(offset, 8);
    }
    const uint64_t elsewhere = 0xffffffff;
    list += LittleEndian(0x02014b50, 4) + LittleEndian(m.attributes != 0 ? 0x0314 : 0x0014, 2) +
            LittleEndian(20, 2) + LittleEndian(flags, 2) + LittleEndian(m.method, 2) +
            LittleEndian(0, 4) + LittleEndian(crc, 4) +
            LittleEndian(m.zip64 ? elsewhere : packed.size(), 4) +
            LittleEndian(m.zip64 ? elsewhere : size, 4) + LittleEndian(m.name.size(), 2) +
            LittleEndian(extra.size(), 2) + LittleEndian(0, 2) + LittleEndian(0, 2) +
            LittleEndian(0, 2) + LittleEndian(uint64_t{m.attributes} << 16, 4) +
            LittleEndian(m.zip64 ? elsewhere : offset, 4) + m.name + extra;
  }
  const uint64_t list_offset = bytes.size();
  bytes += list;
  if (zip64_end) {
    const uint64_t record = bytes.size();
    bytes += LittleEndian(0x06064b50, 4) + LittleEndian(44, 8) + LittleEndian(45, 2) +
             LittleEndian(45, 2) + LittleEndian(0, 8) + LittleEndian(members.size(), 8) +
             LittleEndian(members.size(), 8) + LittleEndian(list.size(), 8) +
             LittleEndian(list_offset, 8);
    bytes += LittleEndian(0x07064b50, 4) + LittleEndian(0, 4) + LittleEndian(record, 8) +
             LittleEndian(1, 4);
  }
  const uint64_t count = zip64_end ? 0xffff : members.size();
  bytes += LittleEndian(0x06054b50, 4) + LittleEndian(0, 4) + LittleEndian(count, 2) +
           LittleEndian(count, 2) + LittleEndian(zip64_end ? 0xffffffff : list.size(), 4) +
           LittleEndian(zip64_end ? 0xffffffff : list_offset, 4) + LittleEndian(comment.size(), 2) +
           comment;
  return bytes;
}

}  // namespace denoise
