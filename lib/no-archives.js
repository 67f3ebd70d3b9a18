"use strict";
// In place of archives.js in a browser's bundle, which has no Node.js streams.

function unavailable() {
  throw new Error(
    "readArchive and writeArchive need Node.js: in a browser run tar in the VM, with readFile and writeFile",
  );
}

module.exports = { readArchiveOf: unavailable, writeArchiveOf: unavailable };
