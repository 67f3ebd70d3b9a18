"use strict";
// Which Node.js a VM shows. It is the server's own program, except where that is something else: Bun and Deno take JavaScript for
// Node.js, but programs inside that call `node` expect Node.js.

const { execFile } = require("node:child_process");
const { constants } = require("node:fs");
const { access, realpath } = require("node:fs/promises");
const path = require("node:path");

/** Names in `process.versions` that only another runtime has. */
const OTHER_RUNTIMES = ["bun", "deno", "electron"];

/** Where the host's programs are inside, whatever the server's PATH is. */
const USUAL = ["/usr/local/bin", "/usr/bin", "/bin"];

/** How long a program named `node` may take to say what it is. */
const ANSWER_MS = 10_000;

/** What prints the program's own path, or nothing where it is another runtime. */
const ASK = `process.stdout.write(${JSON.stringify(OTHER_RUNTIMES)}.some((name) => process.versions[name]) ? "" : process.execPath)`;

/**
 * The search, made once: the PATH of a process does not change what it can run.
 * @type {Promise<string | undefined> | undefined}
 */
let found;

/**
 * The path of the Node.js to show; undefined where there is none. A promise where it has to be searched for.
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

/** Whether Node.js and the server are one program, which runs the server whatever it is called with. */
function isSingleExecutable() {
  try {
    return require("node:sea").isSea();
  } catch {
    // Before Node.js 20.12 there is none.
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
 * What the program `file` is, if it is Node.js; a version manager's stand-in names the Node.js that it runs.
 * @param {string} file
 * @param {string} own
 */
async function nodeAt(file, own) {
  try {
    await access(file, constants.X_OK);
    // Bun puts itself on the PATH under this name.
    if ((await realpath(file)) === own) return undefined;
    const named = await answerOf(file);
    if (!path.isAbsolute(named)) return undefined;
    await access(named, constants.X_OK);
    return named;
  } catch {
    // Not there, not to be run, or no Node.js: the search goes on.
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
