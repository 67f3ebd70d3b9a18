"use strict";
// In place of streams.js in a browser's bundle, which has no Node.js streams.

function unavailable() {
  throw new Error(
    "stdin, stdout, stderr and stream of a handle need Node.js: in a browser use lines(), events, callbacks, writeProcessStdin or writeShell",
  );
}

module.exports = { readableOf: unavailable, writableOf: unavailable, duplexOf: unavailable };
