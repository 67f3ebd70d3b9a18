"use strict";
const { AgentVm } = require("..");
const { withLimit } = require("./fixture/limits");
const { httpServer } = require("./fixture/host-servers");
const { until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");

/** A shell's loop that takes processor time, in the form of a program and its arguments. */
const BUSY = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";

test("stats count processes, their time and memory, and the bytes of input and output", async () => {
  const vm = await boot();
  expect(await vm.stats()).toMatchObject({
    processes: 0,
    peakProcesses: 0,
    cpuMs: 0,
    memoryBytes: 0,
    peakMemoryBytes: 0,
    bytesIn: 0,
    bytesOut: 0,
  });
  await vm.exec("cat; head -c 1000 /dev/zero; head -c 100 /dev/zero >&2", {
    stdin: "x".repeat(10_000),
    maxOutputBytes: 5,
  });
  expect(await vm.stats()).toMatchObject({ bytesIn: 10_000, bytesOut: 11_100 });

  const { pid } = await vm.spawn("sh", ["-c", `${BUSY}; cat`]);
  await vm.writeProcessStdin(pid, "1234567");
  await until(async () => (await vm.stats()).bytesOut === 11_107);
  const { processes, cpuMs, memoryBytes, bytesIn } = await vm.stats();
  expect({ processes, bytesIn }).toEqual({ processes: 2, bytesIn: 10_007 });
  expect(cpuMs).toBeGreaterThan(0);
  expect(memoryBytes).toBeGreaterThan(500_000);

  const { shellId } = await vm.openShell({ command: "sh", args: ["-c", "stty raw -echo; printf abc; sleep 1000"] });
  await until(async () => (await vm.stats()).bytesOut === 11_110);
  await vm.writeShell(shellId, "12345");
  expect((await vm.stats()).bytesIn).toBe(10_012);
});

test("the time of processes that have ended stays in cpuMs, if a parent or init waited for them", async () => {
  const vm = await boot();
  /** What all of these commands took, by the kernel's own count for each. */
  let used = 0;
  const commands = [
    BUSY,
    // A child that the command waits for, and one that nobody is left to wait for but init.
    `sh -c '${BUSY}'`,
    `sh -c '(${BUSY}; echo done >/tmp/done) &'; until [ -e /tmp/done ]; do sleep 0.01; done`,
  ];
  for (const command of commands) {
    const before = (await vm.stats()).cpuMs;
    const { usage } = await vm.exec(command);
    const { cpuMs, processes } = await vm.stats();
    expect(cpuMs).toBeGreaterThanOrEqual(before);
    used += usage.userMs + usage.systemMs;
    expect(cpuMs).toBeGreaterThanOrEqual(Math.floor(used));
    expect(processes).toBeLessThanOrEqual(1);
  }
  await until(async () => (await vm.stats()).processes === 0);
  const { cpuMs } = await vm.stats();
  const { usage } = await vm.exec(BUSY);
  // The orphan of the third command took about as much as this one, and is in no command's usage.
  expect(cpuMs - used).toBeGreaterThan((usage.userMs + usage.systemMs) / 4);
});

test("cpuMs never decreases while processes start and end", async () => {
  const vm = await boot();
  const storm = vm.exec(
    "n=0; while [ $n -lt 300 ]; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; n=$((n+1)); done",
  );
  let ended = false;
  storm.then(() => (ended = true));
  let [last, readings] = [0, 0];
  while (!ended) {
    const { cpuMs } = await vm.stats();
    expect(cpuMs).toBeGreaterThanOrEqual(last);
    last = cpuMs;
    readings++;
  }
  const { usage } = await storm;
  const { cpuMs } = await vm.stats();
  expect(readings).toBeGreaterThan(10);
  expect(cpuMs).toBeGreaterThanOrEqual(Math.floor(usage.userMs + usage.systemMs));
  // Nothing was counted twice.
  expect(cpuMs).toBeLessThan((usage.userMs + usage.systemMs) * 1.5 + 20);
});

test("with cgroups, a program cannot hide the time of its children by ignoring their ends", async () => {
  const vm = await boot();
  const { usage } = await vm.exec(BUSY);
  const taken = usage.userMs + usage.systemMs;
  const before = (await vm.stats()).cpuMs;
  const hide = "trap '' CHLD; (i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; echo done >/tmp/hidden) &";
  await vm.exec(`${hide} until [ -e /tmp/hidden ]; do sleep 0.01; done; exit 0`);
  await until(async () => (await vm.stats()).processes === 0);
  const hidden = (await vm.stats()).cpuMs - before;
  const cgroup = (await AgentVm.doctor()).checks.find(({ name }) => name === "cgroup");
  // Without a cgroup the kernel adds the children to nobody, which docs/metrics.md says.
  expect(hidden).toBeGreaterThan(cgroup.ok ? taken / 2 : -1);
});

test("stats keep the peaks of processes and memory", async () => {
  const vm = await boot();
  await Promise.all([1, 2, 3].map(() => vm.exec("sleep 0.2")));
  const { pid } = await vm.spawn("sh", ["-c", "head -c 30000000 /dev/zero | tail -c 30000000 >/dev/null; cat"]);
  await vm.closeProcessStdin(pid);
  await vm.waitProcess(pid);
  await until(async () => (await vm.stats()).processes === 0);
  const { peakProcesses, memoryBytes, peakMemoryBytes } = await vm.stats();
  expect(peakProcesses).toBeGreaterThanOrEqual(3);
  expect(memoryBytes).toBe(0);
  // `tail` kept all of it.
  expect(peakMemoryBytes).toBeGreaterThan(30_000_000);
});

test("stats report the room for private files, and what fills it", async () => {
  const vm = await boot({ limits: { diskBytes: 16 * 1024 * 1024 } });
  const before = (await vm.stats()).disk;
  expect(before.usedBytes + before.freeBytes).toBe(16 * 1024 * 1024);
  await vm.exec("head -c 5000000 /dev/zero >/tmp/a; head -c 3000000 /dev/zero >~/b; mkdir ~/d; touch ~/d/1 ~/d/2");
  const { disk } = await vm.stats();
  expect(disk.usedBytes - before.usedBytes).toBeGreaterThanOrEqual(8_000_000);
  expect(disk.usedBytes - before.usedBytes).toBeLessThan(8_000_000 + 64 * 1024);
  expect(disk.usedFiles - before.usedFiles).toBe(5);
  expect(disk.freeFiles).toBe(before.freeFiles - 5);
  await vm.exec("head -c 100000000 /dev/zero >/tmp/c; rm -r ~/d");
  expect((await vm.stats()).disk).toMatchObject({ freeBytes: 0, usedFiles: disk.usedFiles - 2 });
});

test(
  "stats report memory against its limit",
  withLimit({ memoryBytes: 128 * 1024 * 1024 }, async (vm) => {
    const before = (await vm.stats()).memory;
    expect(before.limitBytes).toBe(128 * 1024 * 1024);
    await vm.exec("head -c 50000000 /dev/zero >/tmp/a");
    const { memory } = await vm.stats();
    expect(memory.usedBytes).toBeGreaterThanOrEqual(50_000_000);
    expect(memory.usedBytes).toBeLessThanOrEqual(memory.limitBytes);
    await vm.exec("rm /tmp/a");
    const after = (await vm.stats()).memory;
    expect(after.usedBytes).toBeLessThan(25_000_000);
    // Since Linux 5.19 both versions of cgroups count it.
    expect(after.peakBytes).toBeGreaterThanOrEqual(50_000_000);
  }),
);

test(
  "stats report for how long programs had to wait for processor time",
  withLimit({ cpus: 0.2 }, async (vm) => {
    expect((await vm.stats()).cpu).toMatchObject({ limit: 0.2, throttledPeriods: 0, throttledMs: 0 });
    const { pid } = await vm.spawn("sh", ["-c", "while :; do :; done"]);
    await until(async () => (await vm.stats()).cpu.throttledMs > 20);
    await vm.killProcess(pid);
    const { cpu } = await vm.stats();
    expect(cpu.throttledPeriods).toBeGreaterThan(0);
    expect(cpu.throttledPeriods).toBeLessThanOrEqual(cpu.periods);
  }),
);

test("stats count what goes out through the proxy, and what connect and fetch exchange", async () => {
  const port = await httpServer((request, response) => {
    request.resume().on("end", () => response.end("y".repeat(200_000)));
  });
  const vm = await boot({ network: { allow: [`127.0.0.1:${port}`] } });
  const nothing = { sentBytes: 0, receivedBytes: 0 };
  expect(await vm.stats()).toMatchObject({ network: nothing, ports: nothing });
  const url = `http://127.0.0.1:${port}/`;
  await vm.exec("head -c 100000 /dev/zero >/tmp/up");
  await vm.exec(`curl -sS -T /tmp/up ${url} -o /tmp/down`, { check: true });
  const { network, ports } = await vm.stats();
  for (const [bytes, content] of [
    [network.sentBytes, 100_000],
    [network.receivedBytes, 200_000],
  ]) {
    expect(bytes).toBeGreaterThan(content);
    expect(bytes).toBeLessThan(content + 2_000);
  }
  expect(ports).toEqual(nothing);

  await vm.spawn("python3", ["-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/tmp"]);
  await vm.waitForPort(8000);
  await (await vm.fetch(8000, "/down")).arrayBuffer();
  const after = await vm.stats();
  expect(after.ports.sentBytes).toBeGreaterThan(200_000);
  expect(after.ports.receivedBytes).toBeGreaterThan(10);
  // The VM's own name leads back into the VM.
  await vm.exec("curl -sS --noproxy '' http://localhost:8000/down -o /dev/null", { check: true });
  expect((await vm.stats()).network).toEqual(after.network);
});

test("without namespaces stats report no disk and no network", async () => {
  const vm = await boot({ isolation: "landlock" });
  await vm.exec(BUSY);
  const stats = await vm.stats();
  expect(stats.cpuMs).toBeGreaterThan(0);
  expect(Object.keys(stats)).toEqual(expect.not.arrayContaining(["disk", "network"]));
});

test("many readings at the same time agree", async () => {
  const vm = await boot();
  await vm.exec(BUSY);
  const all = await Promise.all(Array.from({ length: 200 }, () => vm.stats()));
  expect(new Set(all.map(({ cpuMs }) => cpuMs)).size).toBe(1);
});
