"use strict";
// `check: true`: a command that fails is a rejection.

const { AgentVmError } = require("..");
const { rejection } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

test("a command that exits with 0 resolves as without check", async () => {
  expect(await vm.exec("echo fine", { check: true })).toMatchObject({ stdout: "fine\n", exitCode: 0 });
});

test("an exit code other than 0 is a rejection with COMMAND_FAILED, and without check a result", async () => {
  const command = "echo out; echo first >&2; echo 'last line' >&2; exit 3";
  const error = await rejection(vm.exec(command, { check: true }));
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error.code).toBe("COMMAND_FAILED");
  expect(error.message).toBe('The command failed: exit code 3; its last line on stderr is "last line"');
  const { usage: _, ...result } = await vm.exec(command, { check: false });
  expect(error.result).toMatchObject(result);
  expect(result).toMatchObject({ exitCode: 3, stdout: "out\n", stderr: "first\nlast line\n", timedOut: false });
});

test("execFile is checked in the same way, and its result has bytes if they were asked for", async () => {
  const error = await rejection(vm.execFile("sh", ["-c", "printf é >&2; exit 1"], { check: true, encoding: "buffer" }));
  expect(error.message).toBe('The command failed: exit code 1; its last line on stderr is "é"');
  expect(error.result.stderr).toEqual(Buffer.from("é"));
});

test("a signal and a timeout are failures, whose message names them", async () => {
  const killed = await rejection(vm.exec("kill -USR1 $$", { check: true }));
  expect(killed.message).toBe("The command failed: it was killed by SIGUSR1");
  const late = await rejection(vm.exec("sleep 60", { check: true, timeout: 50 }));
  expect(late.message).toBe("The command failed: its timeout ended it");
  expect(late.result).toMatchObject({ timedOut: true, reason: "timeout", exitCode: 137 });
});

test("the message has at most 200 characters of what a command wrote, and no control character", async () => {
  const command = `printf '%s\\033]0;title\\007\\302\\233' "$(head -c 300 /dev/zero | tr '\\0' x)" >&2; false`;
  const long = await rejection(vm.exec(command, { check: true }));
  expect(long.message).toContain(`${"x".repeat(200)}"`);
  const short = await rejection(vm.exec(`printf 'x\\033]0;title\\007\\302\\233' >&2; false`, { check: true }));
  expect(short.message).not.toMatch(/\p{Cc}/u);
});

test("what cannot be run, and an abort, reject as without check", async () => {
  expect((await rejection(vm.execFile("no-such-program", [], { check: true }))).code).toBe("ENOENT");
  const signal = AbortSignal.timeout(50);
  expect((await rejection(vm.exec("sleep 60", { check: true, signal }))).code).toBe("ABORTED");
});
