"use strict";
// `killSignal` and `killGrace`: a program is asked to end at its timeout before it is killed. And `argv0`.

const { rejection, until } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const NO_END = 60_000;

test("at its timeout a program gets the signal, and what it does about it is in the result", async () => {
  const command = "trap 'echo cleaned up; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
  const result = await vm.exec(command, { timeout: 300, killSignal: "SIGTERM", killGrace: NO_END });
  expect(result).toMatchObject({ timedOut: true, reason: "timeout", exitCode: 3, signal: null });
  expect(result.stdout).toBe("ready\ncleaned up\n");
});

test("a program that does not end in the grace is killed", async () => {
  const command = "trap 'echo asked' TERM; while :; do sleep 0.02; done";
  const result = await vm.exec(command, { timeout: 200, killSignal: "SIGTERM", killGrace: 300 });
  expect(result).toMatchObject({ timedOut: true, reason: "timeout", exitCode: 137, signal: "SIGKILL" });
  expect(result.stdout).toBe("asked\n");
});

test("the signal reaches the process group of the program, and is the one that was asked for", async () => {
  const script = `
const { spawn } = require("node:child_process");
const child = spawn("sh", ["-c", "trap 'echo child; exit' INT; while :; do sleep 0.02; done"], { stdio: "inherit" });
process.on("SIGINT", () => child.on("exit", () => { console.log("parent"); process.exit(0); }));
setInterval(() => {}, 1000);`;
  const result = await vm.execFile("node", ["-e", script], { timeout: 1000, killSignal: "SIGINT", killGrace: NO_END });
  expect(result).toMatchObject({ timedOut: true, exitCode: 0, stdout: "child\nparent\n" });
});

test("what is left when the program has ended is killed", async () => {
  const command = "setsid sleep 983 & trap 'exit 4' TERM; while :; do sleep 0.02; done";
  const result = await vm.exec(command, { timeout: 200, killSignal: "SIGTERM", killGrace: NO_END });
  expect(result).toMatchObject({ exitCode: 4, background: [] });
  expect((await vm.allProcesses()).filter(({ args }) => args.includes("983"))).toEqual([]);
});

test.each([
  ["killGrace alone asks with SIGTERM", { killGrace: NO_END }],
  ["killSignal alone leaves time to end", { killSignal: "SIGTERM" }],
])("%s", async (_, options) => {
  const command = "trap 'sleep 0.2; exit 5' TERM; while :; do sleep 0.02; done";
  expect(await vm.exec(command, { timeout: 200, ...options })).toMatchObject({ timedOut: true, exitCode: 5 });
});

test("killSignal SIGKILL kills everything at the timeout", async () => {
  const result = await vm.exec("sleep 60", { timeout: 50, killSignal: "SIGKILL", killGrace: NO_END });
  expect(result).toMatchObject({ timedOut: true, exitCode: 137 });
});

test("a command that ends before its timeout gets no signal", async () => {
  const result = await vm.exec("trap 'echo asked' TERM; echo done", { timeout: 60_000, killSignal: "SIGTERM" });
  expect(result).toMatchObject({ timedOut: false, stdout: "done\n", exitCode: 0 });
});

test("an abort during the grace kills at once", async () => {
  const abort = new AbortController();
  let asked = "";
  const command = "trap 'echo asked' TERM; while :; do sleep 0.02; done";
  const onStdout = (data) => (asked += data);
  const options = { timeout: 100, killSignal: "SIGTERM", killGrace: NO_END, signal: abort.signal, onStdout };
  const call = rejection(vm.exec(command, options));
  await until(() => asked === "asked\n");
  abort.abort();
  expect((await call).code).toBe("ABORTED");
});

test("a spawned process is asked in the same way", async () => {
  const command = "trap 'exit 6' TERM; while :; do sleep 0.02; done";
  const { exited } = await vm.spawn("sh", ["-c", command], { timeout: 200, killGrace: NO_END });
  expect(await exited).toMatchObject({ exitCode: 6, reason: "timeout", signal: null });
});

test.each([
  ["killSignal", 15, "SIGTERM"],
  ["killSignal", "TERM", "SIGTERM"],
  ["killGrace", -1, "milliseconds"],
  ["killGrace", "5s", "milliseconds"],
  ["argv0", 5, "string"],
  ["argv0", "a\0b", "NUL"],
])("%s %p is refused by exec and spawn, and the message says what would be right", async (option, value, right) => {
  for (const call of [vm.exec("true", { [option]: value }), vm.spawn("true", [], { [option]: value })]) {
    const error = await rejection(call);
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain(option);
    expect(error.message).toContain(right);
  }
});

test("argv0 is the program's own name for it, and does not change which program runs", async () => {
  const script = ["-c", 'echo "$0"'];
  expect((await vm.execFile("sh", script, { argv0: "-login" })).stdout).toBe("-login\n");
  expect((await vm.execFile("/bin/sh", script, { argv0: "" })).stdout).toBe("\n");
  expect((await vm.execFile("sh", script)).stdout).toBe("sh\n");
  expect((await vm.exec('echo "$0"', { argv0: "é name" })).stdout).toBe("é name\n");
  const handle = await vm.spawn("sh", script, { argv0: "other" });
  expect(Buffer.concat(await handle.stdout.toArray()).toString()).toBe("other\n");
});

test("argv0 counts as an argument", async () => {
  expect((await rejection(vm.exec("true", { argv0: "x".repeat(200_000) }))).code).toBe("E2BIG");
});
