"use strict";
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

async function refused(promise, ...words) {
  const error = await rejection(promise);
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error.code).toBe("INVALID_ARGUMENT");
  // The message names the argument and the valid values.
  for (const word of words) expect(error.message).toContain(word);
}

describe("exec refuses", () => {
  test.each([
    ["a missing command", [], "command", "string"],
    ["null", [null], "command", "string"],
    ["a number", [1], "command", "string"],
    ["an array", [["echo"]], "command", "string"],
    ["a NUL byte", ["echo \0"], "command", "NUL"],
    ["options that are null", ["true", null], "options", "object"],
    ["options that are a string", ["true", "x"], "options", "object"],
    ["options that are an array", ["true", []], "options", "object"],
    ["an option that does not exist", ["true", { shell: true }], "shell", "cwd"],
    ["an option of another spelling", ["true", { timeoutMs: 5 }], "timeoutMs", "timeout"],
    ["a relative cwd", ["true", { cwd: "tmp" }], "cwd", "absolute"],
    ["an empty cwd", ["true", { cwd: "" }], "cwd", "absolute"],
    ["a cwd that is no string", ["true", { cwd: 1 }], "cwd", "string"],
    ["a NUL byte in cwd", ["true", { cwd: "/a\0" }], "cwd", "NUL"],
    ["a negative timeout", ["true", { timeout: -1 }], "timeout", "0 or more"],
    ["a timeout that is NaN", ["true", { timeout: NaN }], "timeout", "number"],
    ["an endless timeout", ["true", { timeout: Infinity }], "timeout", "number"],
    ["a timeout that is text", ["true", { timeout: "5" }], "timeout", "number"],
    ["a timeout that is null", ["true", { timeout: null }], "timeout", "number"],
    ["a name with = in env", ["true", { env: { "A=B": "x" } }], "env", "="],
    ["an empty name in env", ["true", { env: { "": "x" } }], "env", "empty"],
    ["a name with a NUL byte in env", ["true", { env: { "A\0": "x" } }], "env", "NUL"],
    ["a value with a NUL byte in env", ["true", { env: { A: "x\0" } }], "env", "NUL"],
    ["a value that is no string in env", ["true", { env: { A: 1 } }], "env.A", "string"],
    ["an env that is an array", ["true", { env: ["A=1"] }], "env", "object"],
    ["an env that is null", ["true", { env: null }], "env", "object"],
    ["stdin that is a number", ["true", { stdin: 1 }], "stdin", "Uint8Array"],
    ["stdin that is an array", ["true", { stdin: [1, 2] }], "stdin", "Uint8Array"],
    ["stdin that is null", ["true", { stdin: null }], "stdin", "Uint8Array"],
    ["stdin that is another view", ["true", { stdin: new Uint16Array(2) }], "stdin", "Uint8Array"],
    ["a signal that is none", ["true", { signal: {} }], "signal", "AbortSignal"],
    [
      "one that cannot be let go",
      ["true", { signal: { aborted: false, addEventListener() {} } }],
      "signal",
      "AbortSignal",
    ],
    ["a signal's name", ["true", { signal: "SIGTERM" }], "signal", "AbortSignal"],
    ["a controller for its signal", ["true", { signal: new AbortController() }], "signal", "AbortSignal"],
    ["onStdout that is no function", ["true", { onStdout: true }], "onStdout", "function"],
    ["onStderr that is no function", ["true", { onStderr: {} }], "onStderr", "function"],
    ["a negative maxOutputBytes", ["true", { maxOutputBytes: -1 }], "maxOutputBytes", "number"],
    ["half a byte of output", ["true", { maxOutputBytes: 0.5 }], "maxOutputBytes", "number"],
    ["endless output", ["true", { maxOutputBytes: Infinity }], "maxOutputBytes", "number"],
    ["maxOutputBytes that is NaN", ["true", { maxOutputBytes: NaN }], "maxOutputBytes", "number"],
  ])("%s", async (_, args, ...words) => {
    const vm = await boot();
    await refused(vm.exec(...args), ...words);
    expect(await output(vm, "echo on")).toBe("on\n");
  });
});

describe("execFile refuses", () => {
  test.each([
    ["a missing program", [], "file", "string"],
    ["an empty name", [""], "file", "empty"],
    ["a NUL byte", ["l\0s"], "file", "NUL"],
    ["arguments in a string", ["ls", "-l"], "args", "array"],
    ["arguments that are null", ["ls", null], "args", "array"],
    ["options in the place of arguments", ["ls", { cwd: "/tmp" }], "args", "array"],
    ["an argument that is a number", ["ls", ["-l", 1]], "args[1]", "string"],
    ["an argument with a NUL byte", ["ls", ["\0"]], "args[0]", "NUL"],
    ["a hole among the arguments", ["ls", Array.from({ length: 1 })], "args[0]", "string"],
    ["an option that does not exist", ["ls", [], { uid: 0 }], "uid"],
  ])("%s", async (_, args, ...words) => {
    const vm = await boot();
    await refused(vm.execFile(...args), ...words);
    expect((await vm.execFile("echo", ["on"])).stdout).toBe("on\n");
  });
});

describe("create refuses", () => {
  test.each([
    ["options that are null", null, "options", "object"],
    ["options that are text", "namespaces", "options", "object"],
    ["an option that does not exist", { memory: 1 }, "memory", "limits"],
    ["an isolation that does not exist", { isolation: "docker" }, "isolation", '"namespaces"'],
    ["an isolation that is null", { isolation: null }, "isolation", '"none"'],
    ["a host name with blanks", { hostname: "a b" }, "hostname"],
    ["an empty host name", { hostname: "" }, "hostname"],
    ["a host name with a newline", { hostname: "a\n127.0.0.1 b" }, "hostname"],
    ["a host name that is too long", { hostname: "a".repeat(65) }, "hostname", "64"],
    ["a host name that is no string", { hostname: 1 }, "hostname", "string"],
    ["an env that is no object", { env: "A=1" }, "env", "object"],
    ["a name with = in env", { env: { "A=": "x" } }, "env", "="],
    ["a value that is no string in env", { env: { A: undefined, B: 1 } }, "env"],
  ])("%s", async (_, options, ...words) => {
    await refused(AgentVm.create(options), ...words);
  });

  // Options that have their own test file are not listed here.
  test.each([
    [{ network: "bridge" }],
    [{ limits: { pids: 0 } }],
    [{ limits: { memoryBytes: 1024 } }],
    [{ limits: { memoryBytes: "64m" } }],
    [{ limits: { cpus: 0 } }],
    [{ limits: { cpus: NaN } }],
    [{ limits: 1 }],
    [{ mounts: {} }],
    [{ home: 1 }],
    [{ rootfs: 1 }],
  ])("what it does not take: %j", async (options) => {
    await refused(AgentVm.create(options), Object.keys(options)[0]);
  });
});

test("new AgentVm() throws", () => {
  expect(() => new AgentVm()).toThrow(AgentVmError);
  expect(() => new AgentVm()).toThrow(/AgentVm\.create/);
});

test("members that are undefined count as absent", async () => {
  const vm = await boot({ hostname: undefined, env: undefined });
  const options = { env: undefined, cwd: undefined, stdin: undefined, timeout: undefined, signal: undefined };
  expect((await vm.exec("pwd", { ...options, onStdout: undefined, maxOutputBytes: undefined })).stdout).toBe(
    "/home/user\n",
  );
  expect((await vm.execFile("pwd", undefined, undefined)).stdout).toBe("/home/user\n");
});

test("options may inherit from defaults, and a Map is refused", async () => {
  const vm = await boot();
  const options = Object.create({ cwd: "/tmp" });
  expect((await vm.exec("pwd", options)).stdout).toBe("/tmp\n");
  await refused(vm.exec("pwd", new Map([["cwd", "/tmp"]])), "options", "object");
  await refused(vm.exec("pwd", { env: new Map([["A", "b"]]) }), "env", "object");
});
