"use strict";
const { descendants } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

/** Init's helpers may be started at any time. */
const isHelper = ({ name }) => /^agent-vm-(files|calls)$/.test(name);
const sleeping = () => descendants(process.pid).filter((found) => found.state !== "Z" && !isHelper(found));

test("a timeout keeps what was printed and says so", async () => {
  const vm = await boot();
  expect(await vm.exec("echo early; echo complaint >&2; sleep 1000; echo late", { timeout: 1500 })).toMatchObject({
    stdout: "early\n",
    stderr: "complaint\n",
    timedOut: true,
    exitCode: 137,
    signal: "SIGKILL",
    reason: "timeout",
    background: [],
  });
});

test("a timeout leaves no process behind: no child, no background process, none in another session", async () => {
  const vm = await boot();
  // Init has the name by which it is counted only after the first call.
  await vm.exists("/");
  const before = sleeping().length;
  const command = "sleep 1000 & setsid sleep 1000 & (trap '' TERM; setsid -f sh -c 'sleep 1000; :') ; sleep 1000";
  expect(await vm.exec(command, { timeout: 300 })).toMatchObject({ timedOut: true });
  expect(await vm.allProcesses()).toEqual([]);
  await until(() => sleeping().length <= before);
});

test("a timeout ends a command that ignores signals and one that never stops printing", async () => {
  const vm = await boot();
  expect(await vm.exec("trap '' TERM INT HUP; while :; do :; done", { timeout: 200 })).toMatchObject({
    timedOut: true,
  });
  const loud = await vm.exec("echo first; yes", { timeout: 1000, maxOutputBytes: 1000 });
  expect(loud).toMatchObject({ timedOut: true, stdoutTruncated: true, stdout: expect.stringMatching(/^first\ny\n/) });
  expect(await vm.allProcesses()).toEqual([]);
});

test("a timeout does not end the background processes of other commands", async () => {
  const vm = await boot();
  const { background } = await vm.exec("sleep 1000 & sleep 1000 &");
  await vm.exec("sleep 1000", { timeout: 100 });
  expect((await vm.allProcesses()).map(({ pid }) => pid).sort()).toEqual(background.map(({ pid }) => pid).sort());
});

test("a command that ends in time is not affected by its timeout, and 0 means no timeout", async () => {
  const vm = await boot();
  expect(await vm.exec("echo done", { timeout: 60_000 })).toMatchObject({
    stdout: "done\n",
    timedOut: false,
    reason: "exited",
  });
  expect(await vm.exec("sleep 0.2; echo done", { timeout: 0 })).toMatchObject({ stdout: "done\n", timedOut: false });
  expect(await vm.exec("echo done", { timeout: 2 ** 40 })).toMatchObject({ stdout: "done\n", timedOut: false });
});

test("the VM runs commands after timeouts", async () => {
  const vm = await boot();
  await Promise.all([1, 2, 3, 4].map(() => vm.exec("sleep 1000", { timeout: 50 })));
  expect(await output(vm, "echo on")).toBe("on\n");
});
