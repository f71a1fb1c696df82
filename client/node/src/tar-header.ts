// The headers of tar archives: POSIX.1-2017, "pax Interchange Format". The same file makes the same
// bytes as the `denoise` command, so that either can continue the upload of the other.

const blockBytes = 512;
const nameBytes = 100;
const largestOctalSize = 2 ** 33 - 1; // eleven digits

/** The zeros that end an archive. */
export const endOfArchive = new Uint8Array(2 * blockBytes);

/**
 * The header of a plain file of `size` bytes, preceded by a pax header if its name has more than 100
 * bytes.
 */
export function tarHeader(name: string, size: number): Buffer {
  const bytes = Buffer.from(name);
  const header = block(bytes, "0", size);
  if (bytes.length <= nameBytes) return header;
  const record = paxRecord("path", bytes);
  const paxHeader = block(Buffer.from("pax-header"), "x", record.length);
  return Buffer.concat([paxHeader, record, tarPadding(record.length), header]);
}

/** The zeros that pad `size` bytes to whole blocks. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes);
}

function block(name: Buffer, type: string, size: number): Buffer {
  const header = Buffer.alloc(blockBytes);
  fieldName(name).copy(header, 0);
  header.write(octal(0o644, 8), 100, "latin1");
  header.write(octal(0, 8), 108, "latin1"); // owner
  header.write(octal(0, 8), 116, "latin1"); // group
  writeSize(header, size);
  header.write(octal(0, 12), 136, "latin1"); // time
  header.write(type, 156, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  header.write(`${checksum(header).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

// What is cut off must not look like a folder's name to those who ignore the pax header.
function fieldName(name: Buffer): Buffer {
  const field = name.subarray(0, nameBytes);
  return field.length === nameBytes && field.at(-1) === "/".charCodeAt(0)
    ? field.subarray(0, -1)
    : field;
}

// Digits followed by a zero byte.
function octal(number: number, fieldBytes: number): string {
  return `${number.toString(8).padStart(fieldBytes - 1, "0")}\0`;
}

// A size too large for octal is big-endian after a first byte of 0x80, as GNU tar writes it.
function writeSize(header: Buffer, size: number): void {
  if (size <= largestOctalSize) {
    header.write(octal(size, 12), 124, "latin1");
  } else {
    header.writeUInt8(0x80, 124);
    header.writeBigUInt64BE(BigInt(size), 128);
  }
}

// The sum of all bytes, counting those of the checksum as spaces.
function checksum(header: Buffer): number {
  return header.fill(" ", 148, 156).reduce((sum, byte) => sum + byte, 0);
}

// "LENGTH key=value\n", where LENGTH counts itself.
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + 1;
  while (String(length).length + rest !== length) ++length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from("\n")]);
}
