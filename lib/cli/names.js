"use strict";
// The names of VMs that the command line runs: each is a Unix socket in a directory that only the user may enter, which the process
// that has the VM listens on.

const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

const { systemError } = require("../error");
const { usage } = require("./options");

/** How many copies one VM makes at a time. */
const COPIES = 8;

/** @param {string} name */
function checkName(name) {
  if (!/^[a-z0-9][a-z0-9_.-]{0,31}$/i.test(name)) {
    throw usage(
      `a VM's name has up to 32 letters, digits, "_", "-" and ".", and begins with a letter or a digit; not ${JSON.stringify(name)}`,
    );
  }
  return name;
}

// Not of os.userInfo(), which fails for a user without an entry in /etc/passwd.
const uid = /** @type {() => number} */ (process.getuid)();

/** Where the directory of this user's sockets is, if it exists. */
function placeOfNames() {
  const own = process.env.XDG_RUNTIME_DIR;
  return own ? path.join(own, "agent-vm") : path.join(os.tmpdir(), `agent-vm-${uid}`);
}

/** The directory of this user's sockets, which nobody else may enter: who connects reads and writes the VM's files. */
function directoryOfNames() {
  const directory = placeOfNames();
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const found = fs.lstatSync(directory);
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o077) !== 0) {
    throw new Error(`${directory} is not a directory that only this user may enter; remove it, or set XDG_RUNTIME_DIR`);
  }
  return directory;
}

/** @param {string} name */
const socketOf = (name) => path.join(directoryOfNames(), `${checkName(name)}.sock`);

/**
 * Whether a process listens on a socket.
 * @param {string} socket
 * @returns {Promise<boolean>}
 */
function listens(socket) {
  return new Promise((resolve, reject) => {
    const connection = net.connect(socket);
    connection.on("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", (error) => {
      const { code } = systemError(error);
      if (code === "ECONNREFUSED" || code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}

/**
 * Gives a name to a VM of this process: `server` listens under it. Returns what gives the name back. The socket is there
 * under its name only while it listens, or if its process was killed; such a one gives way.
 * @param {string} name
 * @param {net.Server} server
 */
async function claimName(name, server) {
  const socket = socketOf(name);
  const unnamed = `${socket}.${process.pid}`;
  fs.rmSync(unnamed, { force: true });
  await new Promise((resolve, reject) => {
    server.once("error", reject).listen(unnamed, () => resolve(undefined));
  });
  try {
    await link(unnamed, socket, name);
  } catch (error) {
    server.close();
    throw error;
  } finally {
    fs.rmSync(unnamed, { force: true });
  }
  const own = fs.lstatSync(socket).ino;
  return () => {
    server.close();
    if (inodeOf(socket) === own) fs.rmSync(socket, { force: true });
  };
}

/**
 * @param {string} unnamed
 * @param {string} socket
 * @param {string} name
 */
async function link(unnamed, socket, name) {
  for (;;) {
    try {
      return fs.linkSync(unnamed, socket);
    } catch (error) {
      if (systemError(error).code !== "EEXIST") throw error;
    }
    const dead = inodeOf(socket);
    if (await listens(socket)) throw usage(`there is already a VM with the name ${JSON.stringify(name)}`);
    // Another process may have given it way and have taken the name meanwhile.
    if (dead !== undefined && inodeOf(socket) === dead) fs.rmSync(socket, { force: true });
  }
}

/** @param {string} file */
function inodeOf(file) {
  return fs.lstatSync(file, { throwIfNoEntry: false })?.ino;
}

module.exports = { COPIES, checkName, claimName, directoryOfNames, placeOfNames, socketOf };
