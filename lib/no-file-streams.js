"use strict";
// In place of file-streams.js in a browser's bundle, which has no Node.js streams.

function unavailable() {
  throw new Error(
    "createReadStream and createWriteStream need Node.js: in a browser use readFile with offset and length, and appendFile",
  );
}

module.exports = { readStreamOf: unavailable, writeStreamOf: unavailable };
