"use strict";

const fs = require("node:fs");

const { systemError } = require("../error");
const { printable } = require("../printable");

/** What a shell says of a program that died of SIGPIPE: the reader of our output has gone. */
const READER_GONE = 141;
/** @type {import("../members").Bare<{ [fd: number]: string }>} */
const STREAMS = { __proto__: null, 1: "standard output", 2: "standard error" };

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes all of it before it returns: a slow reader holds the caller back, and nothing piles up here.
 * Returns false once nobody reads any more. Throws an error for one line where it cannot be written, as on a full disk.
 * @param {number} fd
 * @param {Uint8Array} data
 */
function write(fd, data) {
  for (let rest = data; rest.length > 0;) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (thrown) {
      const error = systemError(thrown);
      // The second of a socket, where the reader had not taken all; the third of a terminal that was closed.
      if (error.code === "EPIPE" || error.code === "ECONNRESET" || error.code === "EIO") return false;
      if (error.code !== "EAGAIN") {
        throw Object.assign(new Error(`${STREAMS[fd]}: ${error.message}`), { code: error.code, cause: error });
      }
      // The other end made the pipe non-blocking.
      Atomics.wait(pause, 0, 0, 1);
    }
  }
  return true;
}

/**
 * Prints text of our own. Throws what `exitCodeOf` knows where nobody reads it.
 * @param {string} text
 */
function print(text) {
  if (!write(1, Buffer.from(text))) throw Object.assign(new Error("nobody reads the output"), { code: "READER_GONE" });
}

/**
 * JSON for people, and for whatever terminal shows it: no control character is in it but line breaks.
 * @param {object} value
 */
function printJson(value) {
  print(`${printable(JSON.stringify(value, null, 2))}\n`);
}

/**
 * A message on standard error, in which only line breaks are control characters. One that cannot be written is lost.
 * @param {string} message
 */
function complain(message) {
  try {
    write(2, Buffer.from(`agent-vm: ${visible(message)}\n`));
  } catch {
    // There is nowhere left to say so; the exit code does.
  }
}

/**
 * Text with its control characters but line breaks as escapes.
 * @param {string} text
 */
function visible(text) {
  return text.replace(/(?!\n)\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

module.exports = { READER_GONE, complain, print, printJson, visible, write };
