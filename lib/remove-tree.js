"use strict";
// Removes a directory of the server that a guest has filled. Internal: used by `agent-vm/rivetkit`.

// Loaded first, as in index.js.
require("./bundled");

const { Calls } = require("./calls");

/**
 * Removes a directory and everything below it, whatever the depth and the names, including directories whose modes
 * lock their owner out. Links are not followed. It is not an error if the directory does not exist.
 * @param {string} path
 * @returns {Promise<void>}
 */
function removeTree(path) {
  return new Calls(() => {}).ask("removeTree", path);
}

module.exports = { removeTree };
