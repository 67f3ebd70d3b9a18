"use strict";
// One VM for all cases of a file: an attack that leaves it unusable shows in the next case.

const { AgentVm } = require("../..");

/** Boots before the file's tests and checks after each that the VM still answers. */
function victim(options) {
  const held = {};
  beforeAll(async () => {
    held.vm = await AgentVm.create(options);
  });
  afterEach(async () => {
    expect(await held.vm.exec("echo alive")).toMatchObject({ stdout: "alive\n", exitCode: 0 });
  });
  afterAll(() => held.vm.dispose());
  return held;
}

/** What a Python program prints, by lines; it has `libc`, and `attempt(what)`, which prints how a call or function ended. */
async function python(vm, script, options) {
  const prelude = `
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(label, what, *args):
    ctypes.set_errno(0)
    try:
        result = what(*args)
        failed = result == -1 and ctypes.get_errno() != 0
        print(label, errno.errorcode.get(ctypes.get_errno()) if failed else "worked")
    except OSError as error:
        print(label, errno.errorcode.get(error.errno, error.errno))
`;
  const { stdout, stderr } = await vm.execFile("python3", ["-c", prelude + script], options);
  if (stderr !== "") throw new Error(stderr);
  return stdout.trimEnd().split("\n");
}

/** Compiles a C program inside; resolves to its path. */
async function compile(vm, source) {
  const path = `/tmp/program-${Math.random().toString(36).slice(2)}`;
  const { exitCode, stderr } = await vm.exec(`gcc -w -O1 -x c - -o ${path}`, { stdin: source });
  if (exitCode !== 0) throw new Error(stderr);
  return path;
}

module.exports = { compile, python, victim };
