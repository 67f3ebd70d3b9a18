"use strict";
// A package.json of somebody else's: any shape, any size, any kind of file.

const { constants, open } = require("node:fs/promises");
const nodePath = require("node:path");

/** The largest that is read. npm's own bound of what it publishes is far below. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * The object in a directory's package.json. Rejects where there is none.
 * @param {string} directory
 * @returns {Promise<object>}
 */
async function manifestOf(directory) {
  // A FIFO would hold the call up for ever.
  const file = await open(nodePath.join(directory, "package.json"), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MOST_BYTES) throw new Error("no regular file of at most 4 MiB");
    const bytes = Buffer.alloc(stat.size);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      ({ bytesRead: read } = await file.read(bytes, length, bytes.length - length, length));
    }
    const json = JSON.parse(bytes.toString("utf8", 0, length));
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("no object");
    return json;
  } finally {
    await file.close();
  }
}

/**
 * Whether a command can have this name: one that a directory can hold, and that shows as one line.
 * @param {string} name
 */
function isFileName(name) {
  return /^[^/\p{Cc}]+$/u.test(name) && name !== "." && name !== ".." && Buffer.byteLength(name) <= 255;
}

module.exports = { isFileName, manifestOf };
