"use strict";
const { AgentVmError } = require("..");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
let pid;
beforeAll(async () => {
  vm = await bootForFile();
  ({ pid } = await vm.spawn("sleep", ["1000"]));
});

/** A call that must be refused, and words of the message: the argument's name and its valid values. */
const refused = [
  ["spawn without a program", () => vm.spawn(), "command", "string"],
  ["spawn of an empty name", () => vm.spawn(""), "command", "empty"],
  ["spawn of a name with a NUL byte", () => vm.spawn("l\0s"), "command", "NUL"],
  ["spawn with arguments in a string", () => vm.spawn("ls", "-l"), "args", "array"],
  ["spawn with options in the place of arguments", () => vm.spawn("ls", { cwd: "/" }), "args", "array"],
  ["spawn with an argument that is a number", () => vm.spawn("ls", ["-l", 1]), "args[1]", "string"],
  ["spawn with an argument with a NUL byte", () => vm.spawn("ls", ["\0"]), "args[0]", "NUL"],
  ["spawn with maxOutputBytes", () => vm.spawn("ls", [], { maxOutputBytes: 1 }), "maxOutputBytes", "timeout"],
  ["spawn with a relative cwd", () => vm.spawn("ls", [], { cwd: "tmp" }), "cwd", "absolute"],
  ["spawn with a negative timeout", () => vm.spawn("ls", [], { timeout: -1 }), "timeout", "0 or more"],
  ["spawn with a timeout that is NaN", () => vm.spawn("ls", [], { timeout: NaN }), "timeout", "number"],
  ["spawn with a name with = in env", () => vm.spawn("ls", [], { env: { "A=": "x" } }), "env", "="],
  ["spawn with a signal that is none", () => vm.spawn("ls", [], { signal: "SIGTERM" }), "signal", "AbortSignal"],
  ["spawn with onStdout that is no function", () => vm.spawn("ls", [], { onStdout: 1 }), "onStdout", "function"],
  ["spawn with stdin that is a number", () => vm.spawn("ls", [], { stdin: 1 }), "stdin", "Uint8Array"],
  ["writing a number", () => vm.writeProcessStdin(pid, 1), "data", "Uint8Array"],
  ["writing nothing", () => vm.writeProcessStdin(pid), "data", "string"],
  ["writing an array", () => vm.writeProcessStdin(pid, [1]), "data", "string"],
  ["a signal by number", () => vm.signalProcess(pid, 15), "signal", "SIGTERM"],
  ["a signal that does not exist", () => vm.signalProcess(pid, "SIGNOTHING"), "signal", "SIGTERM"],
  ["no signal", () => vm.signalProcess(pid), "signal", "SIGTERM"],
  ["a signal of an object's own", () => vm.signalProcess(pid, "constructor"), "signal", "SIGTERM"],
  ["reading from before the start", () => vm.readProcessOutput(pid, { after: -1 }), "after", "whole number"],
  ["reading from half a byte", () => vm.readProcessOutput(pid, { after: 0.5 }), "after", "whole number"],
  ["reading from text", () => vm.readProcessOutput(pid, { after: "0" }), "after", "whole number"],
  ["reading with the position alone", () => vm.readProcessOutput(pid, 5), "options", "object"],
  ["reading with an option that does not exist", () => vm.readProcessOutput(pid, { from: 5 }), "from", "after"],
];
test.each(refused)("%s is refused", async (_, call, ...words) => {
  const error = await rejection(call());
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error.code).toBe("INVALID_ARGUMENT");
  for (const word of words) expect(error.message).toContain(word);
});

const withPid = [
  ["waitProcess", (wrong) => vm.waitProcess(wrong)],
  ["waitProcessExit", (wrong) => vm.waitProcessExit(wrong)],
  ["getProcess", (wrong) => vm.getProcess(wrong)],
  ["stopProcess", (wrong) => vm.stopProcess(wrong)],
  ["killProcess", (wrong) => vm.killProcess(wrong)],
  ["signalProcess", (wrong) => vm.signalProcess(wrong, "SIGTERM")],
  ["writeProcessStdin", (wrong) => vm.writeProcessStdin(wrong, "x")],
  ["closeProcessStdin", (wrong) => vm.closeProcessStdin(wrong)],
  ["readProcessOutput", (wrong) => vm.readProcessOutput(wrong)],
];
test.each(withPid)("%s refuses a value that is no pid", async (_, call) => {
  for (const wrong of [undefined, null, 0, -1, -pid, 1.5, NaN, Infinity, 2 ** 31, String(pid), [pid], { pid }]) {
    const error = await rejection(call(wrong));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining("pid must be a whole") });
  }
});

test("the VM and the process run on after all refused calls", async () => {
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
  expect((await vm.getProcess(pid)).running).toBe(true);
});

test("a call on a VM that is gone is VM_DISPOSED, once its arguments are right", async () => {
  const gone = await bootForFile();
  const { pid: was } = await gone.spawn("true");
  await gone.dispose();
  const calls = [
    () => gone.spawn("true"),
    () => gone.writeProcessStdin(was, "x"),
    () => gone.closeProcessStdin(was),
    () => gone.waitProcess(was),
    () => gone.waitProcessExit(was),
    () => gone.listProcesses(),
    () => gone.getProcess(99999),
    () => gone.stopProcess(was),
    () => gone.killProcess(was),
    () => gone.signalProcess(was, "SIGTERM"),
    () => gone.readProcessOutput(was),
    () => gone.allProcesses(),
    () => gone.processTree(),
  ];
  for (const call of calls) expect((await rejection(call())).code).toBe("VM_DISPOSED");
  expect((await rejection(gone.getProcess("x"))).code).toBe("INVALID_ARGUMENT");
  expect((await rejection(gone.signalProcess(was, "x"))).code).toBe("INVALID_ARGUMENT");
});
