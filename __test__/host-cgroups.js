"use strict";
// The host's cgroups, to see what a VM leaves behind in them.

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

/** The directories, in every hierarchy, that this process is in. */
function ownDirectories() {
  const mounts = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const own = fs.readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  return own
    .map((line) => {
      const [, controllers, below] = /^\d+:([^:]*):(.*)$/.exec(line);
      const kind = controllers === "" ? " - cgroup2 " : " - cgroup ";
      const mount = mounts.find((entry) => entry.includes(kind) && (controllers === "" || entry.endsWith(controllers)));
      return mount && path.join(mount.split(" ")[4], below);
    })
    .filter((directory) => directory !== undefined && fs.existsSync(directory));
}

/** VMs' directories that are there, of whatever server; those of a server that was moved down stand one level up. */
function vmDirectories() {
  const parents = ownDirectories().map((directory) =>
    path.basename(directory) === "agent-vm-servers" ? path.dirname(directory) : directory,
  );
  return parents.flatMap((parent) =>
    fs
      .readdirSync(parent)
      .filter((name) => /^agent-vm-[0-9a-f]{16}-\d+$/.test(name))
      .map((name) => path.join(parent, name)),
  );
}

/** The number that is in the names of all directories of the server whose VM's process `pid` is; none where it has none. */
function serverNumber(pid) {
  try {
    return /\/agent-vm-([0-9a-f]{16})-\d+/.exec(fs.readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1];
  } catch {
    // It has ended.
    return undefined;
  }
}

/** Directories of the server with that number. */
function directoriesOf(number) {
  return number === undefined ? [] : vmDirectories().filter((directory) => directory.includes(`agent-vm-${number}-`));
}

function isWritable(directory) {
  try {
    fs.accessSync(directory, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Directories of servers that are dead, as far as they are ours to remove: nobody holds the lock by which the living lease
 * each of theirs.
 */
function deadDirectories() {
  const ours = vmDirectories().filter((directory) => isWritable(path.dirname(directory)));
  // Of another user's server we may not even look at the directory; flock(1) says so with another status.
  return ours.filter((directory) => spawnSync("flock", ["--nonblock", "--shared", directory, "true"]).status === 0);
}

module.exports = { ownDirectories, serverNumber, directoriesOf, deadDirectories };
