"use strict";
// The output of a process line by line: both streams, in the order of arrival.

const { AgentVmError } = require("../error");

/** @import { Output, StreamName } from "./output" */

/** @typedef {{ stream: StreamName, line: string }} Line */

/** Characters of lines that wait to be taken; with more, the process is paused. */
const MOST_WAITING = 64 * 1024;
/** Characters of one line. */
const LONGEST = 16 * 1024 * 1024;

/** One stream as lines, decoded as UTF-8. */
class Splitter {
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #rest = "";

  /**
   * The lines that end within `data`, without their line ends.
   * @param {Uint8Array} data
   */
  split(data) {
    const [first = "", ...others] = this.#decoder.decode(data, { stream: true }).split("\n");
    const last = others.pop();
    if (last === undefined) {
      this.#rest += first;
      return [];
    }
    const lines = [this.#rest + first, ...others].map(withoutReturn);
    this.#rest = last;
    return lines;
  }

  get length() {
    return this.#rest.length;
  }

  /** The last line, if the stream does not end with a line end. */
  end() {
    const line = this.#rest + this.#decoder.decode();
    return line === "" ? [] : [withoutReturn(line)];
  }
}

/** @param {string} line */
function withoutReturn(line) {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

/** @implements {AsyncIterableIterator<Line, undefined>} */
class Lines {
  #splitters = { stdout: new Splitter(), stderr: new Splitter() };
  /** @type {Line[]} */
  #lines = [];
  #first = 0;
  #waitingCharacters = 0;
  /** @type {{ resolve: (result: IteratorResult<Line, undefined>) => void, reject: (error: unknown) => void }[]} */
  #callers = [];
  #open = 2;
  #failed = false;
  /** @type {unknown} */
  #failure;
  /** @type {ReturnType<Output["read"]> | undefined} */
  #tap;

  /** @param {Output} output */
  constructor(output) {
    try {
      this.#tap = output.read(["stdout", "stderr"], {
        onData: (data, stream) => this.#add(stream, this.#splitters[stream].split(data)),
        onStreamEnd: (stream) => this.#end(stream),
      });
      if (this.#open === 0) this.#tap.close();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @returns {Promise<IteratorResult<Line, undefined>>} */
  next() {
    const line = this.#lines[this.#first];
    if (line !== undefined) {
      this.#first++;
      this.#waitingCharacters -= line.line.length;
      if (this.#first === this.#lines.length) this.#clear();
      if (this.#waitingCharacters < MOST_WAITING) this.#tap?.resume();
      return Promise.resolve({ value: line, done: false });
    }
    if (this.#failed) {
      const failure = this.#failure;
      [this.#failed, this.#failure] = [false, undefined];
      return Promise.reject(failure);
    }
    if (this.#open === 0) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#callers.push({ resolve, reject }));
  }

  /** @returns {Promise<IteratorReturnResult<undefined>>} */
  return() {
    this.#clear();
    this.#close();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async [Symbol.asyncDispose]() {
    await this.return();
  }

  /**
   * @param {StreamName} stream
   * @param {string[]} lines
   */
  #add(stream, lines) {
    for (const line of lines) {
      const value = { stream, line };
      const caller = this.#callers.shift();
      if (caller) {
        caller.resolve({ value, done: false });
        continue;
      }
      this.#lines.push(value);
      this.#waitingCharacters += line.length;
    }
    if (this.#splitters[stream].length > LONGEST) {
      this.#fail(new AgentVmError("LIMIT_EXCEEDED", `A line of ${stream} has more than ${LONGEST} characters`));
      return true;
    }
    return this.#waitingCharacters < MOST_WAITING;
  }

  /** @param {StreamName} stream */
  #end(stream) {
    this.#open--;
    this.#add(stream, this.#splitters[stream].end());
    if (this.#open === 0) this.#close();
  }

  /** @param {unknown} error */
  #fail(error) {
    const caller = this.#callers.shift();
    if (caller) caller.reject(error);
    else [this.#failed, this.#failure] = [true, error];
    this.#close();
  }

  #close() {
    this.#open = 0;
    this.#tap?.close();
    for (const { resolve } of this.#callers.splice(0)) resolve({ value: undefined, done: true });
  }

  #clear() {
    this.#lines = [];
    this.#first = 0;
    this.#waitingCharacters = 0;
  }
}

exports.Lines = Lines;
