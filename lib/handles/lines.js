"use strict";
// The output of a process line by line: both streams, in the order of arrival.

const { AgentVmError } = require("../error");

/** @import { ReadableOutput, StreamName } from "./output" */

/** @typedef {{ stream: StreamName, line: string }} Line */

/** Bytes that wait to be taken, with what each chunk counts for beside its own; with more, the process is paused. */
const MOST_WAITING = 64 * 1024;
const CHUNK_COST = 256;
/** Characters of one line. */
const LONGEST = 16 * 1024 * 1024;
/** The memory that V8 takes for a piece of a string. */
const PIECE_COST = 32;

/** One stream as lines, decoded as UTF-8. */
class Splitter {
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #rest = "";
  /** How many strings `#rest` was made of since it was last copied to one. */
  #pieces = 0;

  /**
   * The lines that end within `data`, without their line ends.
   * @param {Uint8Array} data
   */
  split(data) {
    const [first = "", ...others] = this.#decoder.decode(data, { stream: true }).split("\n");
    const last = others.pop();
    if (last === undefined) {
      this.#extend(first);
      return [];
    }
    const lines = [this.#rest + first, ...others].map(withoutReturn);
    [this.#rest, this.#pieces] = [last, 0];
    return lines;
  }

  /**
   * Adds to the last line. V8 keeps the pieces of a string apart, which takes many times the memory of single characters.
   * @param {string} piece
   */
  #extend(piece) {
    this.#rest += piece;
    if (++this.#pieces * PIECE_COST < this.#rest.length + MOST_WAITING) return;
    // Browsers have no Buffer.
    if (typeof Buffer !== "undefined") this.#rest = Buffer.from(this.#rest, "utf16le").toString("utf16le");
    this.#pieces = 0;
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
  /**
   * Chunks that are not split yet: as lines they may take many times the memory. Without data: the end of the stream.
   * @type {{ stream: StreamName, data: Uint8Array | undefined }[]}
   */
  #chunks = [];
  #waiting = 0;
  /** The lines of the chunk that was split last, and how many of them were taken. */
  #lines = /** @type {string[]} */ ([]);
  #taken = 0;
  /** @type {StreamName} */
  #stream = "stdout";
  /** @type {{ resolve: (result: IteratorResult<Line, undefined>) => void, reject: (error: unknown) => void }[]} */
  #callers = [];
  /** How many streams have not ended. */
  #open = 2;
  /** @type {{ error: unknown } | undefined} */
  #failure;
  /** @type {ReturnType<ReadableOutput["read"]> | undefined} */
  #tap;

  /** @param {ReadableOutput} output */
  constructor(output) {
    try {
      this.#tap = output.read(["stdout", "stderr"], {
        onData: (data, stream) => this.#add(stream, data),
        onStreamEnd: (stream) => void this.#add(stream, undefined),
        onError: (error) => {
          this.#fail(error);
          this.#serve();
        },
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @returns {Promise<IteratorResult<Line, undefined>>} */
  next() {
    return new Promise((resolve, reject) => {
      this.#callers.push({ resolve, reject });
      this.#serve();
    });
  }

  /** @returns {Promise<IteratorReturnResult<undefined>>} */
  return() {
    this.#close();
    this.#serve();
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
   * @param {Uint8Array | undefined} data
   */
  #add(stream, data) {
    this.#chunks.push({ stream, data });
    this.#waiting += (data?.byteLength ?? 0) + CHUNK_COST;
    this.#serve();
    return this.#waiting < MOST_WAITING;
  }

  /** Answers the callers, as far as there are lines. */
  #serve() {
    while (this.#callers.length > 0) {
      const line = this.#nextLine();
      if (line === undefined && this.#open > 0) return;
      const caller = this.#callers.shift();
      if (line !== undefined) caller?.resolve({ value: { stream: this.#stream, line }, done: false });
      else if (this.#failure) caller?.reject(this.#failure.error);
      else caller?.resolve({ value: undefined, done: true });
      if (line === undefined) this.#failure = undefined;
    }
  }

  #nextLine() {
    while (this.#taken === this.#lines.length) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) return undefined;
      this.#split(chunk.stream, chunk.data);
    }
    return this.#lines[this.#taken++];
  }

  /**
   * @param {StreamName} stream
   * @param {Uint8Array | undefined} data
   */
  #split(stream, data) {
    const splitter = this.#splitters[stream];
    this.#waiting -= (data?.byteLength ?? 0) + CHUNK_COST;
    if (data === undefined) this.#open--;
    this.#stream = stream;
    this.#lines = data === undefined ? splitter.end() : splitter.split(data);
    this.#taken = 0;
    if (splitter.length > LONGEST) {
      this.#fail(new AgentVmError("LIMIT_EXCEEDED", `A line of ${stream} has more than ${LONGEST} characters`));
    } else if (this.#waiting < MOST_WAITING) {
      this.#tap?.resume();
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    const [lines, taken] = [this.#lines, this.#taken];
    this.#close();
    // The lines before it are whole.
    [this.#lines, this.#taken] = [lines, taken];
    this.#failure = { error };
  }

  #close() {
    this.#open = 0;
    this.#tap?.close();
    this.#chunks = [];
    [this.#lines, this.#taken] = [[], 0];
    this.#failure = undefined;
  }
}

exports.Lines = Lines;
