"use strict";
const { until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

/** Blocks JavaScript's thread. */
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/**
 * The maximum number of bytes between the host's read and a listener: a window of four chunks, and one that is being
 * read.
 */
const UNDER_WAY = 6 * 64 * 1024;

let vm;
let shells;
let stall;
let noisy;
let quiet;
beforeEach(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
  stall = 0;
  noisy = await shells.open();
  vm.on("shellData", ({ shellId }) => {
    if (stall > 0 && shellId === noisy.id) block(stall);
  });
  quiet = await shells.open({ command: "sh", args: ["-c", "stty raw -echo; printf ready; exec cat"] });
  await quiet.shows("ready");
  await noisy.shows("$ ");
  stall = 5;
  await noisy.write("yes\n");
  await until(() => noisy.length > 100_000);
});

/** Sends one keystroke to the quiet shell and waits for the echo. */
async function roundTrip(key) {
  const before = quiet.length;
  await quiet.write(key);
  await until(() => quiet.length > before);
}

test("a listener that stalls does not make memory grow, hold up another shell, or keep Ctrl-C from its program", async () => {
  global.gc?.();
  const before = process.memoryUsage().rss;
  const from = noisy.length;
  const end = Date.now() + 1500;
  let rounds = 0;
  while (Date.now() < end) {
    await roundTrip("x");
    rounds++;
  }
  expect(rounds).toBeGreaterThan(5);
  expect(quiet.text()).toBe(`ready${"x".repeat(rounds)}`);
  // The test's own record keeps everything that arrived.
  const recorded = noisy.length - from;
  expect(process.memoryUsage().rss - before).toBeLessThan(2 * recorded + 64 * 1024 * 1024);
  const { nextSeq } = await vm.readShell(noisy.id, { after: noisy.length });
  expect(nextSeq - noisy.length).toBeLessThanOrEqual(UNDER_WAY);

  const atInterrupt = noisy.length;
  await noisy.write("\x03");
  await until(async () => !(await vm.allProcesses()).some(({ command }) => command === "yes"));
  await noisy.write("echo on it $((6 * 7))\n");
  await noisy.shows("on it 42\r\n");
  // Not much had to be shown first: only the kernel's buffers, and what was between the host and the listener.
  expect(noisy.length - atInterrupt).toBeLessThan(1_000_000);
  expect(noisy.gapless).toBe(true);
});

test("while JavaScript does nothing at all, the program is stopped, not its output piled up", async () => {
  stall = 0;
  await until(() => noisy.length > 500_000);
  const { nextSeq: before } = await vm.readShell(noisy.id, { after: noisy.length });
  const memory = process.memoryUsage().rss;
  block(1000);
  const { nextSeq: after } = await vm.readShell(noisy.id, { after: noisy.length });
  expect(after - before).toBeLessThanOrEqual(UNDER_WAY);
  expect(process.memoryUsage().rss - memory).toBeLessThan(16 * 1024 * 1024);

  // Input is delivered although the output is full: at once, before any more output is read.
  const written = noisy.write("\x03");
  block(200);
  await written;
  const { nextSeq: interrupted } = await vm.readShell(noisy.id, { after: noisy.length });
  expect(interrupted - after).toBeLessThanOrEqual(UNDER_WAY);
  await until(async () => !(await vm.allProcesses()).some(({ command }) => command === "yes"));
});

test("a dozen shells that print at once delay no other call", async () => {
  stall = 0;
  const crowd = await Promise.all(Array.from({ length: 10 }, () => shells.open({ command: "yes" })));
  await Promise.all(crowd.map((shell) => until(() => shell.length > 200_000)));
  for (let round = 0; round < 10; round++) await roundTrip("y");
  await Promise.all(crowd.map((shell) => shell.close()));
  expect(crowd.every(({ gapless, exit }) => gapless && exit.signal === "SIGHUP")).toBe(true);
});
