// SHA-256 (FIPS 180-4), fed piece by piece. The browser's own needs all bytes at once, and HTTPS.

const blockBytes = 64;

const primes = firstPrimes(64);
const fraction = (root: number) => Math.floor((root % 1) * 2 ** 32) | 0;
const roundConstants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const firstState = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

export class Sha256 {
  readonly #state = firstState.slice();
  readonly #schedule = new Int32Array(64);
  readonly #pending = new Uint8Array(blockBytes);
  #pendingBytes = 0;
  #totalBytes = 0;

  update(bytes: Uint8Array): void {
    this.#totalBytes += bytes.length;
    let at = 0;
    if (this.#pendingBytes > 0) {
      at = Math.min(bytes.length, blockBytes - this.#pendingBytes);
      this.#pending.set(bytes.subarray(0, at), this.#pendingBytes);
      this.#pendingBytes += at;
      if (this.#pendingBytes < blockBytes) return;
      this.#addBlocks(this.#pending);
    }
    const end = bytes.length - ((bytes.length - at) % blockBytes);
    this.#addBlocks(bytes.subarray(at, end));
    this.#pending.set(bytes.subarray(end));
    this.#pendingBytes = bytes.length - end;
  }

  /** The hash, 32 bytes. Ends the use of this object. */
  finish(): Uint8Array {
    const bits = BigInt(this.#totalBytes) * 8n;
    const zeros = (2 * blockBytes - 9 - this.#pendingBytes) % blockBytes;
    const padding = new DataView(new ArrayBuffer(1 + zeros + 8));
    padding.setUint8(0, 0x80);
    padding.setBigUint64(1 + zeros, bits);
    this.update(new Uint8Array(padding.buffer));
    const hash = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, i) => hash.setInt32(4 * i, word));
    return new Uint8Array(hash.buffer);
  }

  #addBlocks(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += blockBytes) {
      expand(view, at, this.#schedule);
      mix(this.#state, this.#schedule);
    }
  }
}

// Section 6.2.2, step 1: the message schedule of the block at `at`.
function expand(view: DataView, at: number, w: Int32Array): void {
  for (let t = 0; t < 16; t++) w[t] = view.getInt32(at + 4 * t);
  for (let t = 16; t < 64; t++) {
    const early = w[t - 15] as number;
    const late = w[t - 2] as number;
    const s0 = rotate(early, 7) ^ rotate(early, 18) ^ (early >>> 3);
    const s1 = rotate(late, 17) ^ rotate(late, 19) ^ (late >>> 10);
    w[t] = (s1 + (w[t - 7] as number) + s0 + (w[t - 16] as number)) | 0;
  }
}

// Steps 2 to 4: 64 rounds, added to the state.
function mix(state: Int32Array, w: Int32Array): void {
  let [a, b, c, d, e, f, g, h] = state as unknown as EightWords;
  for (let t = 0; t < 64; t++) {
    const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + sum1 + choice + (roundConstants[t] as number) + (w[t] as number)) | 0;
    const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + sum0 + majority) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = ((state[i] as number) + word) | 0));
}

type EightWords = [number, number, number, number, number, number, number, number];

const rotate = (word: number, bits: number) => (word >>> bits) | (word << (32 - bits));

function firstPrimes(count: number): number[] {
  const found: number[] = [];
  for (let candidate = 2; found.length < count; candidate++)
    if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  return found;
}
