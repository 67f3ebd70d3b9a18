"use strict";

const fs = require("node:fs");

const { systemError } = require("../error");
const { printable } = require("../printable");

/**
 * The exit code that a shell reports for a program killed by SIGPIPE, which here means that our output's reader
 * closed it.
 */
const READER_GONE = 141;
/** @type {import("../members").Bare<{ [fd: number]: string }>} */
const STREAMS = { __proto__: null, 1: "standard output", 2: "standard error" };

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes all of `data` before it returns: a slow reader blocks the caller, and no output queues up here. Returns
 * false if the reader has closed. Throws a printable error if writing fails otherwise, for example on a full disk.
 * @param {number} fd
 * @param {Uint8Array} data
 */
function write(fd, data) {
  for (let rest = data; rest.length > 0;) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (thrown) {
      const error = systemError(thrown);
      // ECONNRESET: the reader closed a socket with data unread. EIO: the terminal was closed.
      if (error.code === "EPIPE" || error.code === "ECONNRESET" || error.code === "EIO") return false;
      if (error.code !== "EAGAIN") {
        throw Object.assign(new Error(`${STREAMS[fd]}: ${error.message}`), { code: error.code, cause: error });
      }
      // The process at the other end made the pipe non-blocking.
      Atomics.wait(pause, 0, 0, 1);
    }
  }
  return true;
}

/**
 * Prints our own text. If the reader has closed, throws the error that `exitCodeOf` maps to READER_GONE.
 * @param {string} text
 */
function print(text) {
  if (!write(1, Buffer.from(text))) throw Object.assign(new Error("nobody reads the output"), { code: "READER_GONE" });
}

/**
 * JSON that is safe to show on a terminal: its only control characters are line breaks.
 * @param {object} value
 */
function printJson(value) {
  print(`${printable(JSON.stringify(value, null, 2))}\n`);
}

/**
 * Prints a message on standard error; its only control characters are line breaks. Write errors are ignored.
 * @param {string} message
 */
function complain(message) {
  try {
    write(2, Buffer.from(`agent-vm: ${visible(message)}\n`));
  } catch {
    // Standard error cannot be written; the exit code still reports the failure.
  }
}

/**
 * Escapes the control characters in a text, except line breaks.
 * @param {string} text
 */
function visible(text) {
  return text.replace(/(?!\n)\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

module.exports = { READER_GONE, complain, print, printJson, visible, write };
