"use strict";
const { rejection, until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

test("listProcesses and getProcess return spawned processes with their command and arguments, in order", async () => {
  const running = await vm.spawn("sleep", ["1000"]);
  const done = await vm.spawn("/bin/sh", ["-c", "exit 3", "", "ü"]);
  await vm.waitProcess(done.pid);
  const expected = [
    { pid: running.pid, command: "sleep", args: ["1000"], running: true, exitCode: null },
    { pid: done.pid, command: "/bin/sh", args: ["-c", "exit 3", "", "ü"], running: false, exitCode: 3 },
  ];
  expect(await vm.listProcesses()).toEqual(expected);
  expect(await vm.getProcess(running.pid)).toEqual(expected[0]);
  expect(await vm.getProcess(done.pid)).toEqual(expected[1]);
  await vm.killProcess(running.pid);
});

test("listProcesses has no process of exec", async () => {
  const before = await vm.listProcesses();
  const recorded = record(vm);
  await vm.exec("echo x; sleep 1000 &");
  expect(await vm.listProcesses()).toEqual(before);
  expect(recorded.events).toEqual([]);
});

test("an exited process still answers: wait, read, get, list", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "echo kept; exit 4"]);
  expect(await vm.waitProcess(pid)).toBe(4);
  expect(await vm.waitProcess(pid)).toBe(4);
  const { chunks, exited } = await vm.readProcessOutput(pid);
  expect(chunks.map(({ data }) => String(data)).join("")).toBe("kept\n");
  expect(exited.exitCode).toBe(4);
  expect((await vm.getProcess(pid)).exitCode).toBe(4);
  expect((await vm.listProcesses()).map((process) => process.pid)).toContain(pid);
});

test("waitProcess resolves after the exit event, for every caller", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "read line; exit 9"]);
  const waits = Array.from({ length: 20 }, () =>
    vm.waitProcess(pid).then((code) => [code, recorded.exit(pid)?.exitCode]),
  );
  await vm.writeProcessStdin(pid, "\n");
  for (const wait of waits) expect(await wait).toEqual([9, 9]);
});

test("1,024 exited processes are remembered; after that the first to exit is forgotten, never a running one", async () => {
  const many = await bootForFile();
  const { pid: runs } = await many.spawn("sleep", ["1000"]);
  const pids = [];
  for (let i = 0; i < 1100; i += 20) {
    const batch = await Promise.all(Array.from({ length: 20 }, async () => (await many.spawn("true")).pid));
    await Promise.all(batch.map((pid) => many.waitProcess(pid)));
    pids.push(...batch);
  }
  const listed = await many.listProcesses();
  expect(listed).toHaveLength(1025);
  expect(listed[0]).toMatchObject({ pid: runs, running: true });
  // Within a batch they exit in any order.
  const known = new Set(listed.map(({ pid }) => pid));
  for (const pid of pids.slice(0, 60)) {
    expect(known.has(pid)).toBe(false);
    const message = `Process not found: ${pid}`;
    expect(await rejection(many.getProcess(pid))).toMatchObject({ code: "PROCESS_NOT_FOUND", message });
    expect(await rejection(many.waitProcess(pid))).toMatchObject({ code: "PROCESS_NOT_FOUND", message });
    expect(await rejection(many.readProcessOutput(pid))).toMatchObject({ code: "PROCESS_NOT_FOUND", message });
  }
  for (const pid of pids.slice(-1000)) expect(await many.waitProcess(pid)).toBe(0);
});

test("getProcess(99999) says which process was not found", async () => {
  const error = await rejection(vm.getProcess(99999));
  expect(error).toMatchObject({ name: "AgentVmError", code: "PROCESS_NOT_FOUND", message: "Process not found: 99999" });
});

test("what children left behind write is kept within the bound that exited processes share", async () => {
  const left = await bootForFile();
  const pids = [];
  for (let i = 0; i < 24; i++) {
    const { pid } = await left.spawn("sh", [
      "-c",
      "(while [ ! -e /tmp/go ]; do sleep 0.05; done; head -c 1500000 /dev/zero) & exit 0",
    ]);
    pids.push(pid);
  }
  await Promise.all(pids.map((pid) => left.waitProcess(pid)));
  const recorded = record(left);
  await left.exec("touch /tmp/go");
  await until(() => recorded.events.reduce((sum, { data }) => sum + data.length, 0) === 24 * 1_500_000);
  let kept = 0;
  for (const pid of pids) {
    const { nextSeq, truncatedBytes } = await left.readProcessOutput(pid);
    expect(nextSeq).toBe(1_500_000);
    kept += nextSeq - truncatedBytes;
  }
  expect(kept).toBeGreaterThan(8 * 1024 * 1024);
  expect(kept).toBeLessThanOrEqual(16 * 1024 * 1024);
});
