"use strict";
// Waiting for what a process or shell prints.

const { rejection, until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVmError } = require("..");

/** A process that prints what it is sent. */
const echo = (vm) => vm.spawn("cat");

test("a text that was printed before, or is printed later, is found with its place", async () => {
  const vm = await boot();
  const { pid } = await echo(vm);
  const later = vm.waitForOutput(pid, "ready");
  await vm.writeProcessStdin(pid, "not yet\nread");
  await until(async () => (await vm.readProcessOutput(pid)).nextSeq === 12);
  await vm.writeProcessStdin(pid, "y\n");
  const found = { stream: "stdout", text: "ready", groups: [], named: {}, seq: 8, nextSeq: 13, truncatedBytes: 0 };
  expect(await later).toEqual(found);
  expect(await vm.waitForOutput(pid, "ready")).toEqual(found);
  // From there on it is not printed.
  const again = vm.waitForOutput(pid, "ready", { after: 13 });
  await vm.writeProcessStdin(pid, "ready");
  expect(await again).toMatchObject({ seq: 14, nextSeq: 19 });
});

test("a regular expression is matched with its groups, also across chunks", async () => {
  const vm = await boot();
  const { pid } = await echo(vm);
  const pattern = /listening on (?<host>\S+):(\d+)(x)?\n/gy;
  pattern.lastIndex = 7;
  const waiting = vm.waitForOutput(pid, /listening on (?<host>\S+):(\d+)(x)?\n/g);
  for (const part of ["zzz listen", "ing on local", "host:80", "80\n"]) {
    const { nextSeq } = await vm.readProcessOutput(pid);
    await vm.writeProcessStdin(pid, part);
    await until(async () => (await vm.readProcessOutput(pid)).nextSeq === nextSeq + part.length);
  }
  const found = { groups: ["localhost", "8080", undefined], named: { host: "localhost" }, seq: 4, nextSeq: 32 };
  expect(await waiting).toMatchObject(found);
  expect(await vm.waitForOutput(pid, pattern)).toMatchObject(found);
  expect(pattern.lastIndex).toBe(7);
});

test("positions are those of bytes, whatever the characters", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("printf", ["é😀\\377\\342\\202ok€\\n"]);
  const { seq, nextSeq, text } = await vm.waitForOutput(pid, /ok€/);
  expect([seq, nextSeq, text]).toEqual([9, 14, "ok€"]);
  expect(await vm.waitForOutput(pid, "\u{fffd}\u{fffd}o")).toMatchObject({ seq: 6, nextSeq: 10 });
  expect(await vm.waitForOutput(pid, "😀")).toMatchObject({ seq: 2, nextSeq: 6 });
});

test("a character whose end is missing matches at the end of the output alone", async () => {
  const vm = await boot();
  const { pid } = await echo(vm);
  const waiting = vm.waitForOutput(pid, /x[^€]/);
  await vm.writeProcessStdin(pid, Buffer.concat([Buffer.from("x€x"), Buffer.from([0xe2])]));
  await vm.writeProcessStdin(pid, Buffer.from([0x82]));
  await until(async () => (await vm.readProcessOutput(pid)).nextSeq === 7);
  await vm.closeProcessStdin(pid);
  expect(await waiting).toMatchObject({ text: "x\ufffd", seq: 4, nextSeq: 7 });
});

test("each stream is searched by itself", async () => {
  const vm = await boot();
  const script = "printf rea; printf no >&2; printf dy; printf ' way' >&2; cat";
  const { pid } = await vm.spawn("sh", ["-c", script]);
  expect(await vm.waitForOutput(pid, "ready")).toMatchObject({ stream: "stdout", text: "ready" });
  expect(await vm.waitForOutput(pid, "no way")).toMatchObject({ stream: "stderr", text: "no way" });
  expect(await rejection(vm.waitForOutput(pid, "reano", { timeout: 100 }))).toMatchObject({ code: "ETIMEDOUT" });
});

test("a shell's terminal is searched", async () => {
  const vm = await boot();
  const { shellId } = await vm.openShell({ command: "sh", env: { PS1: "prompt> " } });
  const { nextSeq } = await vm.waitForOutput(shellId, "prompt> ");
  await vm.writeShell(shellId, "echo $((6 * 7))\n");
  const answer = await vm.waitForOutput(shellId, /^(\d+)\r$/m, { after: nextSeq });
  expect(answer).toMatchObject({ stream: "stdout", groups: ["42"] });
  const ended = rejection(vm.waitForOutput(shellId, "never"));
  await vm.writeShell(shellId, "exit\n");
  expect(await ended).toMatchObject({ code: "OUTPUT_ENDED" });
});

test("a wait ends with the output, its time, its signal, or its VM", async () => {
  const vm = await boot();
  const { pid } = await vm.spawn("sh", ["-c", "echo almost; sleep 0.1 & exit 3"]);
  const error = await rejection(vm.waitForOutput(pid, "ready"));
  expect(error).toBeInstanceOf(AgentVmError);
  const message = `The output of process ${pid} has ended without "ready"`;
  expect(error).toMatchObject({ code: "OUTPUT_ENDED", message });
  // Its output is still searched.
  expect(await vm.waitForOutput(pid, "almost")).toMatchObject({ seq: 0 });

  const { pid: open } = await echo(vm);
  const late = await rejection(vm.waitForOutput(open, /never/i, { timeout: 1 }));
  expect(late).toMatchObject({ code: "ETIMEDOUT", message: `process ${open} has not printed /never/i after 1 ms` });
  const controller = new AbortController();
  const aborted = rejection(vm.waitForOutput(open, "never", { signal: controller.signal }));
  controller.abort(new Error("enough"));
  expect(await aborted).toMatchObject({ code: "ABORTED", cause: { message: "enough" } });

  const closed = rejection(vm.waitForOutput(open, "never"));
  await vm.closeProcessOutput(open);
  expect(await closed).toMatchObject({ code: "OUTPUT_ENDED" });

  const { pid: third } = await echo(vm);
  const { shellId } = await vm.openShell();
  const last = Promise.all([
    rejection(vm.waitForOutput(third, "x")),
    rejection(vm.waitForOutput(shellId, "never seen")),
  ]);
  await vm.dispose();
  expect((await last).map(({ code }) => code)).toEqual(["VM_DISPOSED", "VM_DISPOSED"]);
});

test("what is no longer kept is not searched, and the result says how much that is", async () => {
  const vm = await boot({ limits: { replayBytes: 4096 } });
  const { pid } = await vm.spawn("sh", [
    "-c",
    "echo first; head -c 100000 /dev/zero | tr '\\0' x; echo; echo last; cat",
  ]);
  await until(async () => (await vm.readProcessOutput(pid)).nextSeq === 100012);
  const found = await vm.waitForOutput(pid, "last");
  expect(found).toMatchObject({ seq: 100007, nextSeq: 100011 });
  expect(found.truncatedBytes).toBeGreaterThan(90_000);
  expect(await rejection(vm.waitForOutput(pid, "first", { timeout: 100 }))).toMatchObject({ code: "ETIMEDOUT" });
});

test("a match of 64 KiB is found in a flood, and the start of the output matches once", async () => {
  const vm = await boot();
  const script = `
import os, sys
out = sys.stdout.buffer
for n in range(200): out.write(b"y" * 60000 + b"\\n")
out.write(b"<" + b"z" * 65000 + b">")
out.flush()
sys.stdin.read()`;
  const { pid } = await vm.spawn("python3", ["-c", script]);
  const start = vm.waitForOutput(pid, /^y/);
  const controller = new AbortController();
  const wrong = rejection(vm.waitForOutput(pid, /^z/, { signal: controller.signal }));
  const long = await vm.waitForOutput(pid, /<z+>/);
  expect(long).toMatchObject({ seq: 200 * 60001, nextSeq: 200 * 60001 + 65002 });
  expect(await start).toMatchObject({ seq: 0, text: "y" });
  controller.abort();
  expect(await wrong).toMatchObject({ code: "ABORTED" });
});

test("a program that writes single bytes to both streams does not hold up the event loop", async () => {
  const vm = await boot();
  const script = `
import os
while True:
    os.write(1, b"a")
    os.write(2, b"b")`;
  const { pid } = await vm.spawn("python3", ["-c", script]);
  const waits = Array.from({ length: 8 }, () => rejection(vm.waitForOutput(pid, /[cd]e/)));
  await until(async () => (await vm.readProcessOutput(pid)).nextSeq > 200_000);
  expect((await vm.exec("echo served")).stdout).toBe("served\n");
  await vm.killProcess(pid);
  expect((await Promise.all(waits)).map(({ code }) => code)).toEqual(Array(8).fill("OUTPUT_ENDED"));
});

test("wrong arguments are named, and so are unknown processes and shells", async () => {
  const vm = await boot();
  const { pid } = await echo(vm);
  const wrong = [
    [pid, ""],
    [pid, "x".repeat(16_385)],
    [pid, 1],
    [pid, {}],
    [0, "x"],
    [undefined, "x"],
    [pid, "x", { after: -1 }],
    [pid, "x", { timeout: Infinity }],
    [pid, "x", { until: 1 }],
  ];
  for (const args of wrong) {
    expect(await rejection(vm.waitForOutput(...args))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  expect(await rejection(vm.waitForOutput(99999, "x"))).toMatchObject({ code: "PROCESS_NOT_FOUND" });
  expect(await rejection(vm.waitForOutput("shell-9", "x"))).toMatchObject({ code: "SHELL_NOT_FOUND" });
});

test("at most 1,024 calls of a VM wait for output", async () => {
  const vm = await boot();
  const { pid } = await echo(vm);
  const waits = Array.from({ length: 1024 }, () => vm.waitForOutput(pid, "ready"));
  expect(await rejection(vm.waitForOutput(pid, "ready"))).toMatchObject({ code: "LIMIT_EXCEEDED" });
  await vm.writeProcessStdin(pid, "ready");
  expect(await Promise.all(waits)).toHaveLength(1024);
  await vm.waitForOutput(pid, "ready");
});
