// Collects a command's output on one stream up to a bound, and converts it to text or bytes at the end. The VM could keep
// it too, but would keep it until the command ends, whether or not the client's memory has room for it.
import { constants } from "node:buffer";
import type { DroppedOutput, ExecBufferOptions, ExecOptions } from "agent-vm";
import { failure } from "./errors.mjs";

/** A chunk of at least this size is kept as it is; smaller chunks are joined. */
const LARGE = 4096;
const BLOCK = 16 * 1024;

/** How many bytes of a stream are kept: the first ones, and of those after them the last ones. */
export interface KeptBytes {
  readonly head: number;
  readonly tail: number;
}

/** Divides `maxOutputBytes` as AgentVm does. */
export function keptBytes(most: number, keepOutput: ExecOptions["keepOutput"] = "head"): KeptBytes {
  if (keepOutput === "head") return { head: most, tail: 0 };
  if (keepOutput === "tail") return { head: 0, tail: most };
  return { head: Math.ceil(most / 2), tail: Math.floor(most / 2) };
}

/** The kept output of a stream, and what it lacks. */
export interface PrintedOutput {
  readonly output: string | Uint8Array;
  readonly dropped: DroppedOutput | undefined;
}

export class Printed {
  readonly #kept: KeptBytes;
  readonly #head = new Blocks();
  readonly #tail = new Blocks();
  /** How many bytes of the tail are counted. */
  #counted = 0;
  #dropped = 0;

  constructor(kept: KeptBytes) {
    this.#kept = kept;
  }

  /** Keeps the part of `data` within the bound, after `count` has counted it. If `count` throws, keeps nothing. */
  add(data: Uint8Array, count: (bytes: number) => void): void {
    const first = data.subarray(0, Math.max(0, this.#kept.head - this.#head.bytes));
    if (first.byteLength > 0) {
      count(first.byteLength);
      this.#head.add(first);
    }
    this.#addToTail(data.subarray(first.byteLength), count);
  }

  #addToTail(data: Uint8Array, count: (bytes: number) => void): void {
    const { tail } = this.#kept;
    const last = data.subarray(Math.max(0, data.byteLength - tail));
    this.#dropped += data.byteLength - last.byteLength;
    if (last.byteLength === 0) return;
    this.#dropped += this.#tail.dropFirst(this.#tail.bytes + last.byteLength - tail);
    const held = this.#tail.bytes + last.byteLength;
    if (held > this.#counted) {
      count(held - this.#counted);
      this.#counted = held;
    }
    this.#tail.add(last);
  }

  /** Drops everything, and keeps nothing more. */
  drop(): void {
    this.#head.take();
    this.#tail.take();
  }

  /**
   * The kept output. As text it is decoded as UTF-8; invalid sequences become U+FFFD. If a bound is within a character, that
   * character is left out of the text.
   */
  take(encoding: "utf8" | ExecBufferOptions["encoding"] = "utf8"): PrintedOutput {
    let [head, tail] = [this.#head.take(), this.#tail.take()];
    const excess = Math.max(0, tail.byteLength - this.#kept.tail);
    tail = tail.subarray(excess);
    let bytes = this.#dropped + excess;
    if (bytes === 0) {
      const all = tail.byteLength === 0 ? head : Buffer.concat([head, tail]);
      return { output: encoding === "buffer" ? all : text(all), dropped: undefined };
    }
    if (encoding === "buffer") return { output: Buffer.concat([head, tail]), dropped: { bytes, at: head.byteLength } };
    const kept = head.byteLength + tail.byteLength;
    head = head.subarray(0, wholeCharacters(head));
    tail = tail.subarray(restOfCharacter(tail));
    bytes += kept - head.byteLength - tail.byteLength;
    const before = text(head);
    return { output: before + text(tail), dropped: { bytes, at: before.length } };
  }
}

/** Bytes in their order. */
class Blocks {
  #closed: Uint8Array[] = [];
  /** A block with free room, and how much of it is used. */
  #open: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #used = 0;
  bytes = 0;

  add(data: Uint8Array): void {
    this.bytes += data.byteLength;
    if (data.byteLength >= LARGE) {
      this.#close();
      this.#closed.push(data);
      return;
    }
    if (data.byteLength > this.#open.byteLength - this.#used) {
      const size = Math.min(BLOCK, Math.max(2 * this.#open.byteLength, data.byteLength, 128));
      this.#close();
      this.#open = new Uint8Array(size);
    }
    this.#open.set(data, this.#used);
    this.#used += data.byteLength;
  }

  /** Drops the first blocks that have at most `bytes` bytes together. Returns how many bytes it dropped. */
  dropFirst(bytes: number): number {
    let count = 0;
    let dropped = 0;
    for (const block of this.#closed) {
      if (dropped + block.byteLength > bytes) break;
      dropped += block.byteLength;
      count++;
    }
    if (count > 0) this.#closed.splice(0, count);
    this.bytes -= dropped;
    return dropped;
  }

  /** Returns all bytes, and keeps none. */
  take(): Uint8Array {
    this.#close();
    const all = Buffer.concat(this.#closed, this.bytes);
    this.#closed = [];
    this.bytes = 0;
    return all;
  }

  #close(): void {
    if (this.#used > 0) this.#closed.push(this.#open.subarray(0, this.#used));
    this.#open = new Uint8Array(0);
    this.#used = 0;
  }
}

function text(bytes: Uint8Array): string {
  if (bytes.byteLength > constants.MAX_STRING_LENGTH) {
    throw failure("LIMIT_EXCEEDED", `A command's output as text is at most ${constants.MAX_STRING_LENGTH} bytes`);
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
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

/** The length of an incomplete character at the start. */
function restOfCharacter(bytes: Uint8Array): number {
  let at = 0;
  while (at < 3 && at < bytes.byteLength && ((bytes[at] ?? 0) & 0xc0) === 0x80) at++;
  return at;
}
