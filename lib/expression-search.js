"use strict";
// Finds a match of a regular expression in output that arrives in chunks. It uses nothing of Node.js: agent-vm/client runs it in
// browsers too.

/** @import { OutputMatch } from "../index" */

/** @typedef {"stdout" | "stderr"} StreamName */

/** The maximum length of a match that is found for certain, in bytes. */
const MOST_MATCH = 65_536;
/**
 * How many bytes before those that were not searched are kept: a match except for its last byte, the character before it, and the
 * part of a character that is dropped with its beginning.
 */
const KEPT = MOST_MATCH + 8;
/** How many bytes are searched at a time. */
const STEP = 65_536;
/** How many pieces of a stream are kept, between which there is output of the other stream. */
const MOST_PIECES = 4096;

/** A decoder that keeps what an incomplete character begins with until the rest is decoded. */
function newDecoder() {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

const whole = newDecoder();

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
    if (whole.decode(bytes.subarray(0, middle)).length <= length) least = middle;
    else most = middle - 1;
  }
  return least;
}

/** The last bytes of one stream, their text, and where they were in the output of both. */
class Window {
  /** Grows up to KEPT + STEP. */
  #room = new Uint8Array(1024);
  #length = 0;
  #decoder = newDecoder();
  /** The text of the bytes, except for an incomplete character at their end. */
  text = "";
  /** Whether bytes were dropped. */
  isCut = false;
  /** How many of the bytes were not searched yet. */
  fresh = 0;
  /** The chunks that the bytes are from, those that follow one another as one. @type {{ seq: number, length: number }[]} */
  #pieces = [];

  get bytes() {
    return this.#room.subarray(0, this.#length);
  }

  /**
   * Whether bytes can be added without dropping some that were not searched.
   * @param {number} byteLength
   * @param {number} seq
   */
  hasRoom(byteLength, seq) {
    if (this.fresh === 0) return true;
    return this.fresh + byteLength <= STEP && (this.#pieces.length < 2 * MOST_PIECES - 1 || seq === this.#next);
  }

  /** The position after the last byte. */
  get #next() {
    const last = this.#pieces.at(-1);
    return last ? last.seq + last.length : 0;
  }

  /**
   * Adds bytes, for which there is room, and drops the oldest ones.
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(data, seq) {
    const { byteLength } = data;
    if (this.#length + byteLength > KEPT + STEP) this.#drop(this.#length - this.fresh - KEPT);
    const length = this.#length + byteLength;
    if (length > this.#room.byteLength) {
      const room = new Uint8Array(Math.min(KEPT + STEP, Math.max(length, 2 * this.#room.byteLength)));
      room.set(this.bytes);
      this.#room = room;
    }
    this.#room.set(data, this.#length);
    this.#length = length;
    this.text += this.#decoder.decode(data, { stream: true });
    this.fresh += byteLength;
    const last = this.#pieces.at(-1);
    if (last && seq === this.#next) last.length += byteLength;
    else this.#pieces.push({ seq, length: byteLength });
    if (this.#pieces.length >= 2 * MOST_PIECES) this.#dropPieces();
  }

  /** Keeps the newest pieces alone. */
  #dropPieces() {
    let surplus = 0;
    for (const { length } of this.#pieces.slice(0, -MOST_PIECES)) surplus += length;
    this.#drop(surplus);
  }

  /** @param {number} surplus */
  #drop(surplus) {
    let count = surplus;
    // A character is dropped as a whole. More than three bytes in a row that continue a character are invalid ones.
    const most = Math.min(this.#length, surplus + 3);
    while (count < most && (Number(this.#room[count]) & 0xc0) === 0x80) count++;
    if (count <= 0) return;
    this.isCut = true;
    this.text = this.text.slice(whole.decode(this.#room.subarray(0, count)).length);
    this.#room.copyWithin(0, count, this.#length);
    this.#length -= count;
    this.fresh = Math.min(this.fresh, this.#length);
    let left = count;
    let emptied = 0;
    for (const piece of this.#pieces) {
      if (piece.length > left) {
        piece.seq += left;
        piece.length -= left;
        break;
      }
      left -= piece.length;
      emptied++;
    }
    this.#pieces.splice(0, emptied);
  }

  /** The text of all bytes, at the end of the stream: an incomplete character becomes U+FFFD. */
  end() {
    this.text += this.#decoder.decode();
  }

  /**
   * The position of a byte in the output.
   * @param {number} at
   */
  seqOf(at) {
    let before = 0;
    for (const { seq, length } of this.#pieces) {
      if (at < before + length) return seq + at - before;
      before += length;
    }
    return this.#next;
  }
}

class ExpressionSearch {
  /** How many bytes were searched, those that were searched again included. */
  searched = 0;
  #expression;
  /** @type {Map<StreamName, Window>} */
  #windows = new Map();

  /**
   * The expression is searched from the beginning of what is kept of a stream, whatever its flags `g` and `y`.
   * @param {RegExp} expression
   */
  constructor(expression) {
    this.#expression = new RegExp(expression.source, `${expression.flags.replace(/[gy]/g, "")}g`);
  }

  /**
   * Adds bytes of a stream. Returns a match if it had to search to make room for them; else `find` searches.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(stream, data, seq) {
    let window = this.#windows.get(stream);
    if (!window) this.#windows.set(stream, (window = new Window()));
    for (let at = 0; at < data.byteLength; at += STEP) {
      const piece = data.subarray(at, at + STEP);
      const match = window.hasRoom(piece.byteLength, seq + at) ? undefined : this.#search(stream, window);
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
    window?.end();
    return window && this.#search(stream, window);
  }

  /**
   * @param {StreamName} stream
   * @param {Window} window
   * @returns {Omit<OutputMatch, "truncatedBytes"> | undefined}
   */
  #search(stream, window) {
    const { text, bytes, isCut } = window;
    window.fresh = 0;
    this.searched += bytes.byteLength;
    // What precedes the first character is gone: a match must not begin there as if the output did.
    this.#expression.lastIndex = isCut ? String.fromCodePoint(text.codePointAt(0) ?? 0).length : 0;
    const found = this.#expression.exec(text);
    if (found === null) return undefined;
    const [matched, ...groups] = found;
    const begin = bytesOf(bytes, found.index);
    const end = bytesOf(bytes, found.index + matched.length);
    const seq = window.seqOf(begin);
    const nextSeq = end > begin ? window.seqOf(end - 1) + 1 : seq;
    return { stream, text: matched, groups, named: { ...found.groups }, seq, nextSeq };
  }
}

module.exports = { ExpressionSearch };
