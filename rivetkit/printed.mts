// Collects a command's output on one stream up to a bound, and converts it to text at the end. The VM could keep it
// too, but would keep it until the command ends, whether or not the client's memory has room for it.
import { constants } from "node:buffer";
import { failure } from "./errors.mjs";

/** A chunk of at least this size is kept as it is; smaller chunks are joined. */
const LARGE = 4096;
const BLOCK = 16 * 1024;

export class Printed {
  readonly #most: number;
  #blocks: Uint8Array[] = [];
  #bytes = 0;
  /** A block with free room, and how much of it is used. */
  #open: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #used = 0;
  #truncated = false;

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether the output exceeded the bound. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Keeps the part of `data` within the bound, after `count` has counted it. If `count` throws, keeps nothing. */
  add(data: Uint8Array, count: (bytes: number) => void): void {
    const kept = data.subarray(0, Math.max(0, this.#most - this.#bytes));
    if (kept.byteLength < data.byteLength) this.#truncated = true;
    if (kept.byteLength === 0) return;
    count(kept.byteLength);
    this.#bytes += kept.byteLength;
    if (kept.byteLength >= LARGE) {
      this.#close();
      this.#blocks.push(kept);
      return;
    }
    if (kept.byteLength > this.#open.byteLength - this.#used) {
      const size = Math.min(BLOCK, Math.max(2 * this.#open.byteLength, kept.byteLength, 128));
      this.#close();
      this.#open = new Uint8Array(size);
    }
    this.#open.set(kept, this.#used);
    this.#used += kept.byteLength;
  }

  /** Drops everything, and keeps nothing more. */
  drop(): void {
    this.#blocks = [];
    this.#open = new Uint8Array(0);
    this.#used = 0;
  }

  /**
   * Decoded as UTF-8; invalid sequences become U+FFFD. If the bound is within a character, that character is left out.
   */
  text(): string {
    this.#close();
    const all = Buffer.concat(this.#blocks, this.#bytes);
    this.drop();
    const whole = this.#truncated ? all.subarray(0, wholeCharacters(all)) : all;
    if (whole.byteLength > constants.MAX_STRING_LENGTH) {
      throw failure("LIMIT_EXCEEDED", `A command's output as text is at most ${constants.MAX_STRING_LENGTH} bytes`);
    }
    return whole.toString("utf8");
  }

  #close(): void {
    if (this.#used > 0) this.#blocks.push(this.#open.subarray(0, this.#used));
    this.#open = new Uint8Array(0);
    this.#used = 0;
  }
}

/** The length without an incomplete character at the end. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let at = bytes.byteLength - 1; at >= Math.max(0, bytes.byteLength - 3); at--) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    // A sequence that more bytes could complete is left out; any other is invalid and becomes U+FFFD.
    const rest = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(at), { stream: true });
    return rest === "" ? at : bytes.byteLength;
  }
  return bytes.byteLength;
}
