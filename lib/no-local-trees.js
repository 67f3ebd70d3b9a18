"use strict";
// In place of local-trees.js in a browser's bundle, where no directories are.

async function unavailable() {
  throw new Error(
    "uploadDirectory and downloadDirectory need Node.js: in a browser use readFile and writeFiles, or run tar in the VM",
  );
}

module.exports = { treesOf: () => ({ uploadDirectory: unavailable, downloadDirectory: unavailable }) };
