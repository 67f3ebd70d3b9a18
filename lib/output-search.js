"use strict";
// Finds a text or a regular expression in output that arrives in chunks. It uses nothing of Node.js: agent-vm/client runs it in
// browsers too.

/** @import { OutputMatch } from "../index" */

/** @typedef {"stdout" | "stderr"} StreamName */

/**
 * Finds the pattern in a text from an index on.
 * @typedef {(text: string, from: number) => { index: number, text: string, groups: (string | undefined)[], named: { [name: string]: string } } | undefined} Find
 */

/** How many bytes before a chunk may belong to a match that ends in it. */
const WINDOW = 65_536;
/** How many bytes are searched at a time. */
const STEP = 65_536;

const ended = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * The text of the bytes, except for a character at their end of which a part may follow.
 * @param {Uint8Array} bytes
 */
function textSoFar(bytes) {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
}

/**
 * How many bytes make up the first `length` units of the text of `bytes`. Decodes parts of them, because an invalid sequence
 * has another length than its replacement.
 * @param {Uint8Array} bytes
 * @param {number} length
 */
function bytesOf(bytes, length) {
  let least = 0;
  let most = bytes.byteLength;
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (ended.decode(bytes.subarray(0, middle)).length <= length) least = middle;
    else most = middle - 1;
  }
  return least;
}

/** The last bytes of one stream, and where they were in the output of both. */
class Window {
  #room = new Uint8Array(WINDOW + STEP);
  #length = 0;
  /** Whether bytes were dropped. */
  isCut = false;
  /** How many of the bytes were not searched yet. */
  fresh = 0;
  /** The chunks that the bytes are from, those that follow one another as one. @type {{ seq: number, length: number }[]} */
  #parts = [];

  get bytes() {
    return this.#room.subarray(0, this.#length);
  }

  /**
   * Adds bytes, so that at most STEP are fresh, and drops those that are too far from them.
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(data, seq) {
    if (this.fresh === 0) {
      let surplus = Math.max(0, this.#length - WINDOW);
      // A character is dropped as a whole.
      while (surplus > 0 && surplus < this.#length && (Number(this.#room[surplus]) & 0xc0) === 0x80) surplus++;
      this.#drop(surplus);
    }
    this.#room.set(data, this.#length);
    this.#length += data.byteLength;
    this.fresh += data.byteLength;
    const last = this.#parts.at(-1);
    if (last && last.seq + last.length === seq) last.length += data.byteLength;
    else this.#parts.push({ seq, length: data.byteLength });
  }

  /** @param {number} count */
  #drop(count) {
    if (count === 0) return;
    this.isCut = true;
    this.#room.copyWithin(0, count, this.#length);
    this.#length -= count;
    let left = count;
    let whole = 0;
    for (const part of this.#parts) {
      if (part.length > left) {
        part.seq += left;
        part.length -= left;
        break;
      }
      left -= part.length;
      whole++;
    }
    this.#parts.splice(0, whole);
  }

  /**
   * The position of a byte in the output.
   * @param {number} at
   */
  seqOf(at) {
    let before = 0;
    for (const { seq, length } of this.#parts) {
      if (at < before + length) return seq + at - before;
      before += length;
    }
    const last = this.#parts.at(-1);
    return last ? last.seq + last.length : 0;
  }
}

class OutputSearch {
  #find;
  /** @type {Map<StreamName, Window>} */
  #windows = new Map();

  /**
   * A regular expression is searched from the beginning of what is kept of a stream, whatever its flags `g` and `y`.
   * @param {string | RegExp} pattern
   */
  constructor(pattern) {
    if (typeof pattern === "string") {
      /** @type {Find} */
      this.#find = (text, from) => {
        const index = text.indexOf(pattern, from);
        return index < 0 ? undefined : { index, text: pattern, groups: [], named: {} };
      };
      return;
    }
    const expression = new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, "")}g`);
    /** @type {Find} */
    this.#find = (text, from) => {
      expression.lastIndex = from;
      const found = expression.exec(text);
      if (found === null) return undefined;
      const [matched, ...groups] = found;
      return { index: found.index, text: matched, groups, named: { ...found.groups } };
    };
  }

  /**
   * Adds bytes of a stream. Returns a match if it had to search to make room for them; else `find` searches.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(stream, data, seq) {
    const window = this.#windows.get(stream) ?? new Window();
    this.#windows.set(stream, window);
    for (let at = 0; at < data.byteLength; at += STEP) {
      const piece = data.subarray(at, at + STEP);
      const match = window.fresh + piece.byteLength > STEP ? this.#search(stream, window) : undefined;
      if (match) return match;
      window.add(piece, seq + at);
    }
    return undefined;
  }

  /** The first match that ends in the bytes that were added since the last search, if there is one. */
  find() {
    let first;
    for (const [stream, window] of this.#windows) {
      const match = window.fresh > 0 ? this.#search(stream, window) : undefined;
      if (match && (!first || match.nextSeq < first.nextSeq)) first = match;
    }
    return first;
  }

  /**
   * The match that the end of a stream completes, if there is one: an incomplete character becomes U+FFFD.
   * @param {StreamName} stream
   */
  end(stream) {
    const window = this.#windows.get(stream);
    return window && this.#match(stream, window, ended.decode(window.bytes));
  }

  /**
   * @param {StreamName} stream
   * @param {Window} window
   */
  #search(stream, window) {
    window.fresh = 0;
    return this.#match(stream, window, textSoFar(window.bytes));
  }

  /**
   * @param {StreamName} stream
   * @param {Window} window
   * @param {string} text
   * @returns {Omit<OutputMatch, "truncatedBytes"> | undefined}
   */
  #match(stream, window, text) {
    // What precedes the first character is gone: a match must not begin there as if the output did.
    const from = window.isCut ? String.fromCodePoint(text.codePointAt(0) ?? 0).length : 0;
    const found = this.#find(text, from);
    if (found === undefined) return undefined;
    const { index, ...match } = found;
    const { bytes } = window;
    const begin = bytesOf(bytes, index);
    const end = bytesOf(bytes, index + match.text.length);
    const seq = window.seqOf(begin);
    return { stream, ...match, seq, nextSeq: end > begin ? window.seqOf(end - 1) + 1 : seq };
  }
}

module.exports = { OutputSearch, WINDOW };
