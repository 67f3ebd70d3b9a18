"use strict";

const fs = require("node:fs");

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes all of it before it returns: whoever gives the bytes is held back by a slow reader, and nothing piles up here.
 * Returns false once nobody reads any more.
 */
function write(fd, data) {
  for (let rest = data; rest.length > 0;) {
    try {
      rest = rest.subarray(fs.writeSync(fd, rest));
    } catch (error) {
      // The second of a socket, where the reader had not taken all.
      if (error.code === "EPIPE" || error.code === "ECONNRESET") return false;
      if (error.code !== "EAGAIN") throw error;
      // The other end made the pipe non-blocking.
      Atomics.wait(pause, 0, 0, 1);
    }
  }
  return true;
}

module.exports = { write };
