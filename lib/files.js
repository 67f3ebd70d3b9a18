"use strict";
// The file calls that are more than one call of the addon.

const { AgentVmError } = require("./error");
const { exec } = require("./exec");

/** Files of one call that are read or written at a time. */
const FILES_AT_A_TIME = 16;

/** The results of `work` on all items, in their order. */
async function each(items, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(FILES_AT_A_TIME, items.length) }, worker));
  return results;
}

function readFiles(calls, paths, maxBytes) {
  return each(paths, async (path) => {
    try {
      return { path, content: await calls.ask("readFile", path, maxBytes) };
    } catch (error) {
      return { path, content: null, error: error.message };
    }
  });
}

function writeFiles(calls, entries) {
  return each(entries, async ({ path, content }) => {
    try {
      await calls.ask("writeFile", path, content);
      return { path, success: true };
    } catch (error) {
      return { path, success: false, error: error.message };
    }
  });
}

function withoutSlashes(path) {
  let end = path.length;
  while (end > 1 && path[end - 1] === "/") end--;
  return path.slice(0, end);
}

async function move(calls, from, to) {
  try {
    await calls.ask("rename", from, to);
  } catch (error) {
    if (error.code !== "EXDEV") throw error;
    // Between mounts there is no renaming: the VM's own mv copies, then deletes, and keeps what a copy can keep. Slashes behind
    // a name would have it follow a link that takes the name's place.
    const moved = await exec(calls, "mv", ["-f", "-T", "--", withoutSlashes(from), withoutSlashes(to)]);
    if (moved.exitCode !== 0)
      throw new AgentVmError("EXDEV", moved.stderr.trim(), { __proto__: null, ...error, path: from });
  }
}

module.exports = { readFiles, writeFiles, move };
