"use strict";
// What a program gives on the host, as a user that owns nothing there, and inside of a VM.

const { execFileSync, spawnSync } = require("node:child_process");

const ENV = { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", LANG: "C.UTF-8", HOME: "/tmp", TERM: "xterm" };

/** Nobody, where this is root; else this user, who owns none of what is compared. */
const prefix = process.getuid() === 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];

/** Runs a shell's command on the host, in a new directory for temporary files. */
function onHost(command) {
  const [file, ...args] = [...prefix, "sh", "-c", `cd "$(mktemp -d)" && ${command}`];
  const { status, stdout, stderr, error } = spawnSync(file, args, { encoding: "utf8", env: ENV, timeout: 120_000 });
  if (error) throw error;
  return { exitCode: status, stdout, stderr };
}

/** Runs it inside. */
async function inside(vm, command) {
  const { exitCode, stdout, stderr } = await vm.exec(`cd "$(mktemp -d)" && ${command}`, { env: ENV, timeout: 120_000 });
  return { exitCode, stdout, stderr };
}

/** Whether the host has a program. */
function has(name) {
  try {
    execFileSync("sh", ["-c", `command -v ${name}`], { env: ENV, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

module.exports = { has, inside, onHost };
