"use strict";
// Finds the Node.js that a VM shows. It is the program that runs the server, unless that is another runtime: Bun and
// Deno also run JavaScript for Node.js, but programs in the VM that call `node` need Node.js.

const { execFile } = require("node:child_process");
const { constants } = require("node:fs");
const { access, realpath } = require("node:fs/promises");
const path = require("node:path");

/** Names in `process.versions` that only other runtimes have. */
const OTHER_RUNTIMES = ["bun", "deno", "electron"];

/** The directories of the host's programs in the VM, whatever the server's PATH is. */
const USUAL = ["/usr/local/bin", "/usr/bin", "/bin"];

/** How long a program called `node` may take to answer. */
const ANSWER_MS = 10_000;

/** Prints the program's own path, or nothing if the program is another runtime. */
const ASK = `process.stdout.write(${JSON.stringify(OTHER_RUNTIMES)}.some((name) => process.versions[name]) ? "" : process.execPath)`;

/**
 * The search is made once: a process's PATH does not change which programs it can run.
 * @type {Promise<string | undefined> | undefined}
 */
let found;

/**
 * The path of the Node.js to show; undefined if there is none. A promise if it must be searched for.
 * @returns {string | undefined | Promise<string | undefined>}
 */
function serverNode() {
  if (runsOnNode()) return process.execPath;
  found ??= search();
  return found;
}

function runsOnNode() {
  return !OTHER_RUNTIMES.some((name) => process.versions[name] !== undefined) && !isSingleExecutable();
}

/** Whether the server is a single executable application: its Node.js runs the server whatever its arguments are. */
function isSingleExecutable() {
  try {
    return require("node:sea").isSea();
  } catch {
    // `node:sea` does not exist before Node.js 20.12.
    return false;
  }
}

/** The first real Node.js on the server's PATH, or among the host's programs that a VM shows. */
async function search() {
  const directories = [...(process.env.PATH ?? "").split(":"), ...USUAL].filter((directory) =>
    path.isAbsolute(directory),
  );
  const own = await realpath(process.execPath).catch(() => process.execPath);
  for (const directory of new Set(directories)) {
    const node = await nodeAt(path.join(directory, "node"), own);
    if (node !== undefined) return node;
  }
  return undefined;
}

/**
 * The path of the Node.js that `file` is. The shim of a version manager yields the path of the Node.js that it runs.
 * @param {string} file
 * @param {string} own
 */
async function nodeAt(file, own) {
  try {
    await access(file, constants.X_OK);
    // Bun puts itself on the PATH as `node`.
    if ((await realpath(file)) === own) return undefined;
    const named = await answerOf(file);
    if (!path.isAbsolute(named)) return undefined;
    await access(named, constants.X_OK);
    return named;
  } catch {
    // The file does not exist, cannot be executed, or is not Node.js: the search continues.
    return undefined;
  }
}

/**
 * @param {string} file
 * @returns {Promise<string>}
 */
function answerOf(file) {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return new Promise((resolve, reject) => {
    /** @type {import("node:child_process").ExecFileOptions} */
    const options = { env, timeout: ANSWER_MS, killSignal: "SIGKILL", maxBuffer: 65_536 };
    const child = execFile(file, ["--eval", ASK], options, (error, stdout) =>
      error ? reject(error) : resolve(String(stdout)),
    );
    child.stdin?.end();
  });
}

module.exports = { serverNode };
