"use strict";
// Reads a package.json that a third party wrote: it may have any shape, size or file type.

const { constants, open } = require("node:fs/promises");
const nodePath = require("node:path");

/** The largest size that is read, far above npm's own limit for published packages. */
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * The object in a directory's package.json. Rejects if there is none.
 * @param {string} directory
 * @returns {Promise<object>}
 */
async function manifestOf(directory) {
  // Opening a FIFO without O_NONBLOCK could block for ever.
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
 * Whether this can be a command's name: a directory entry that prints as one line.
 * @param {string} name
 */
function isFileName(name) {
  return /^[^/\p{Cc}\p{Cs}]+$/u.test(name) && name !== "." && name !== ".." && Buffer.byteLength(name) <= 255;
}

module.exports = { isFileName, manifestOf };
