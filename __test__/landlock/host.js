"use strict";
// What a hostile program in a VM without namespaces would be after: files, sockets and processes of the host.

const fs = require("node:fs");
const { spawn } = require("node:child_process");
const readline = require("node:readline");
const { descendants } = require("../host-processes");

const started = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

/** A Python program on the host, once it has printed its first line. */
async function hostProgram(script) {
  const child = spawn("/usr/bin/python3", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  started.push(child);
  const line = await new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`ended with ${code}`)));
  });
  return { child, line };
}

/** Runs a Python program in a VM and gives what it prints as JSON. `names` are put before it as variables. */
async function insidePython(vm, names, script) {
  const variables = Object.entries(names).map(
    ([name, value]) => `${name} = json.loads(${JSON.stringify(JSON.stringify(value))})`,
  );
  const prelude = `
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*arguments):
    "The name of the error that a C function or system call ends with."
    ctypes.set_errno(0)
    function, *rest = arguments
    # Whole registers: what is left of an int's upper half would be part of the argument.
    rest = [ctypes.c_long(value) if isinstance(value, int) else value for value in rest]
    result = function(*rest) if callable(function) else libc.syscall(ctypes.c_long(function), *rest)
    return "worked" if result != -1 else errno.errorcode[ctypes.get_errno()]
def attempt(action):
    "The name of the error that something in Python ends with."
    try:
        action()
        return "worked"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
`;
  const { stdout, stderr, exitCode } = await vm.execFile("python3", ["-c", [prelude, ...variables, script].join("\n")]);
  if (exitCode !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** System calls by their numbers on this machine: each is given that on x86-64 and, if it is another, that on arm64. */
function numbers(calls) {
  const index = { x64: 0, arm64: 1 }[process.arch];
  return Object.fromEntries(Object.entries(calls).map(([name, list]) => [name, list[index] ?? list[0]]));
}

/** The pids of a VM's init and of its deputy, of VMs that this process made after it listed `before`. */
function inits(before = []) {
  const known = new Set(before.map(({ pid }) => pid));
  const mine = descendants(process.pid).filter(({ pid }) => !known.has(pid));
  const named = mine.filter(({ pid }) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8") === "agent-vm-init\0";
    } catch {
      return false;
    }
  });
  const init = named.find(({ ppid }) => ppid === process.pid);
  const deputy = named.find(({ ppid, state }) => ppid === init?.pid && state !== "Z");
  return { init: init?.pid, deputy: deputy?.pid };
}

module.exports = { hostProgram, insidePython, inits, numbers };
