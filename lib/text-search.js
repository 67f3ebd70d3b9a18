"use strict";
// Finds a text in output that arrives in chunks, in time that grows with the output alone, whatever the text and the output: the
// Knuth-Morris-Pratt search, over the characters that the UTF-8 of the output decodes to. It keeps no output. It uses nothing of
// Node.js.

/** @import { OutputMatch } from "../index" */
/** @import { StreamName } from "./expression-search" */

// Jest and others run this in a V8 context whose globals are slow to look up, so the loops convert nothing with `Number`.

const REPLACEMENT = 0xfffd;

/** A text, and for each number of its first characters how many of them a failed comparison leaves. */
class Pattern {
  text;
  /** Code points. A half of a surrogate pair equals no character of the output. */
  points;
  failures;

  /** @param {string} text Not empty, and at most 65,535 characters. */
  constructor(text) {
    this.text = text;
    this.points = Uint32Array.from(text, (character) => Number(character.codePointAt(0)));
    this.failures = new Uint16Array(this.points.length + 1);
    const { points, failures } = this;
    let known = 0;
    for (let at = 1; at < points.length; at++) {
      while (known > 0 && points[at] !== points[known]) known = /** @type {number} */ (failures[known]);
      if (points[at] === points[known]) known++;
      failures[at + 1] = known;
    }
  }
}

/** The search in one stream. */
class StreamSearch {
  #stream;
  #pattern;
  /** How many characters of the text the last characters of the stream are. */
  #known = 0;
  /** Where the characters that may belong to a match began in the output of both streams, as a ring. */
  #begins;
  #slot = 0;

  // The character that is being decoded, as the Encoding Standard's decoder does: an invalid sequence becomes U+FFFD.
  #point = 0;
  #missing = 0;
  /** The bounds of the next byte. */
  #least = 0x80;
  #most = 0xbf;
  /** Where the character began, and where its last byte ended. */
  #begin = 0;
  #end = 0;

  /**
   * @param {StreamName} stream
   * @param {Pattern} pattern
   */
  constructor(stream, pattern) {
    this.#stream = stream;
    this.#pattern = pattern;
    this.#begins = new Float64Array(pattern.points.length);
  }

  /**
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(data, seq) {
    const [first] = this.#pattern.points;
    const { byteLength } = data;
    for (let at = 0; at < byteLength; at++) {
      const byte = /** @type {number} */ (data[at]);
      if (this.#missing > 0) {
        if (byte >= this.#least && byte <= this.#most) {
          this.#least = 0x80;
          this.#most = 0xbf;
          this.#point = (this.#point << 6) | (byte & 0x3f);
          this.#end = seq + at + 1;
          if (--this.#missing === 0 && this.#take(this.#point)) return this.#match();
          continue;
        }
        this.#missing = 0;
        if (this.#take(REPLACEMENT)) return this.#match();
      }
      if (byte < 0x80) {
        if (this.#known === 0 && byte !== first) continue;
        this.#begin = seq + at;
        this.#end = seq + at + 1;
        if (this.#take(byte)) return this.#match();
        continue;
      }
      this.#begin = seq + at;
      this.#end = seq + at + 1;
      if (!this.#lead(byte) && this.#take(REPLACEMENT)) return this.#match();
    }
    return undefined;
  }

  /** The match that the end of the stream completes. */
  end() {
    if (this.#missing === 0) return undefined;
    this.#missing = 0;
    return this.#take(REPLACEMENT) ? this.#match() : undefined;
  }

  /**
   * Begins a character. Returns whether the byte can begin one.
   * @param {number} byte
   */
  #lead(byte) {
    this.#least = 0x80;
    this.#most = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) {
      this.#missing = 1;
      this.#point = byte & 0x1f;
    } else if (byte >= 0xe0 && byte <= 0xef) {
      this.#missing = 2;
      this.#point = byte & 0xf;
      if (byte === 0xe0) this.#least = 0xa0;
      if (byte === 0xed) this.#most = 0x9f;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      this.#missing = 3;
      this.#point = byte & 0x7;
      if (byte === 0xf0) this.#least = 0x90;
      if (byte === 0xf4) this.#most = 0x8f;
    } else {
      return false;
    }
    return true;
  }

  /**
   * Compares a character. Returns whether it completes a match.
   * @param {number} point
   */
  #take(point) {
    const { points, failures } = this.#pattern;
    let known = this.#known;
    while (known > 0 && point !== points[known]) known = /** @type {number} */ (failures[known]);
    if (point === points[known]) known++;
    this.#known = known;
    if (known === 0) return false;
    this.#begins[this.#slot] = this.#begin;
    this.#slot = this.#slot + 1 === points.length ? 0 : this.#slot + 1;
    return known === points.length;
  }

  /** @returns {Omit<OutputMatch, "truncatedBytes">} */
  #match() {
    const { text } = this.#pattern;
    // The ring has as many places as the text has characters: the oldest one is the first of the match.
    const seq = Number(this.#begins[this.#slot]);
    return { stream: this.#stream, text, groups: [], named: {}, seq, nextSeq: this.#end };
  }
}

/** Ends with its first match: it must not be used after that. */
class TextSearch {
  /** How many bytes were searched. */
  searched = 0;
  #pattern;
  /** @type {Map<StreamName, StreamSearch>} */
  #streams = new Map();

  /** @param {string} text */
  constructor(text) {
    this.#pattern = new Pattern(text);
  }

  /**
   * Adds bytes of a stream. Returns the match that they complete, if there is one.
   * @param {StreamName} stream
   * @param {Uint8Array} data
   * @param {number} seq
   */
  add(stream, data, seq) {
    let search = this.#streams.get(stream);
    if (!search) this.#streams.set(stream, (search = new StreamSearch(stream, this.#pattern)));
    this.searched += data.byteLength;
    return search.add(data, seq);
  }

  /** Nothing: `add` has searched all. */
  find() {
    return undefined;
  }

  /**
   * @param {StreamName} stream
   */
  end(stream) {
    return this.#streams.get(stream)?.end();
  }
}

module.exports = { TextSearch };
