// Which files are pictures, by their first bytes or by their names.

/** The bytes of a file's beginning that decide. */
export const magicBytes = 12;

const extensions = /\.(png|jpg|jpeg|jpe|jif|jfif|jfi|webp)$/i;

/** Whether the server will read the file, or say what is wrong with it. */
export function isPicture(name: string, start: Uint8Array): boolean {
  const text = Buffer.from(start).toString("latin1");
  return (
    text.startsWith("\x89PNG\r\n\x1a\n") ||
    text.startsWith("\xff\xd8\xff") ||
    (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") ||
    extensions.test(name)
  );
}
