// A tar archive of files that stay on the disk: a Blob of headers and of the files themselves. The
// same files make the same bytes as the `denoise` command, so that either can continue the upload
// of the other (POSIX.1-2017, "pax Interchange Format").

const blockBytes = 512;
const nameBytes = 100;
const octalSizeMax = 8 ** 11 - 1;
const utf8 = new TextEncoder();

export interface TarFile {
  name: string;
  file: Blob;
}

export function tarOf(files: readonly TarFile[]): Blob {
  const parts: BlobPart[] = files.flatMap(({ name, file }) => [
    header(utf8.encode(name), file.size),
    file,
    padding(file.size),
  ]);
  return new Blob([...parts, new Uint8Array(2 * blockBytes)]);
}

// A name that is too long for the header goes into a pax header before it.
function header(name: Uint8Array, size: number): Blob {
  if (name.length <= nameBytes) return new Blob([block(name, "0", size)]);
  const record = paxRecord("path", name);
  const pax = block(utf8.encode("pax-header"), "x", record.size);
  return new Blob([pax, record, padding(record.size), block(name, "0", size)]);
}

function padding(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((blockBytes - (size % blockBytes)) % blockBytes);
}

function block(name: Uint8Array, type: string, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(blockBytes);
  const write = (text: string, at: number) => bytes.set(utf8.encode(text), at);
  bytes.set(fieldName(name));
  write(octal(0o644, 8), 100); // mode
  write(octal(0, 8), 108); // owner
  write(octal(0, 8), 116); // group
  bytes.set(sizeField(size), 124);
  write(octal(0, 12), 136); // time
  write(" ".repeat(8), 148); // the checksum counts itself as spaces
  write(type, 156);
  write("ustar\x0000", 257);
  const checksum = bytes.reduce((sum, byte) => sum + byte, 0);
  write(`${checksum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

// A name that is cut off behind a slash would look like a folder.
function fieldName(name: Uint8Array): Uint8Array {
  const field = name.subarray(0, nameBytes);
  return field.length === nameBytes && field.at(-1) === "/".charCodeAt(0)
    ? field.subarray(0, -1)
    : field;
}

// Digits and a zero byte.
const octal = (value: number, fieldBytes: number) =>
  `${value.toString(8).padStart(fieldBytes - 1, "0")}\0`;

// Where octal digits do not suffice, a big-endian number after 0x80, as GNU tar has it.
function sizeField(size: number): Uint8Array {
  if (size <= octalSizeMax) return utf8.encode(octal(size, 12));
  const field = new DataView(new ArrayBuffer(12));
  field.setUint8(0, 0x80);
  field.setBigUint64(4, BigInt(size));
  return new Uint8Array(field.buffer);
}

// "LENGTH key=value\n", where LENGTH counts its own digits.
function paxRecord(key: string, value: Uint8Array): Blob {
  const others = ` ${key}=\n`.length + value.length;
  let length = others;
  while (`${length}`.length + others !== length) length++;
  return new Blob([`${length} ${key}=`, value as Uint8Array<ArrayBuffer>, "\n"]);
}
