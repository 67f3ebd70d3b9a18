"use strict";
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");
const { AgentVm } = require("..");

test("500 commands at once each get their own result", async () => {
  const vm = await boot();
  const numbers = Array.from({ length: 500 }, (_, index) => index);
  const results = await Promise.all(
    numbers.map((n) => vm.exec(`echo out ${n}; echo err ${n} >&2; cat; exit ${n % 256}`, { stdin: `in ${n}` })),
  );
  expect(results.map(({ stdout, stderr, exitCode }) => [stdout, stderr, exitCode])).toEqual(
    numbers.map((n) => [`out ${n}\nin ${n}`, `err ${n}\n`, n % 256]),
  );
}, 120_000);

test("commands leave no zombie and no descriptor, in the server or in init", async () => {
  const server = nodeScript(`
    const fs = require("node:fs");
    const { prebootedGone } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    const open = () => fs.readdirSync("/proc/self/fd").length;
    const vm = await AgentVm.create();
    await prebootedGone(process.pid);
    const many = () => Promise.all(Array.from({ length: 500 }, (_, n) => vm.exec("echo " + n, { stdin: "x" })));
    await many();
    const before = open();
    await many();
    await Promise.all(Array.from({ length: 50 }, () => vm.exec("sleep 9", { timeout: 50 })));
    await Promise.all(Array.from({ length: 50 }, () => vm.execFile("none").catch(() => {})));
    for (let i = 0; i < 3000 && open() > before; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    const { stdout } = await vm.exec("grep -l ^State:.Z /proc/[0-9]*/status; grep FDSize /proc/1/status");
    console.log(JSON.stringify({ before, after: open(), zombies: stdout.match(/status/g), running: await vm.allProcesses() }));
    await vm.dispose();
  `);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const { before, after, zombies, running } = JSON.parse(stdout);
  expect(after).toBeLessThanOrEqual(before);
  expect({ zombies, running }).toEqual({ zombies: null, running: [] });
}, 120_000);

test("20 VMs boot at once, each its own, and leave nothing behind", async () => {
  const vms = await Promise.all(Array.from({ length: 20 }, () => boot()));
  await Promise.all(vms.map((vm, index) => vm.exec(`echo ${index} > file`)));
  const results = await Promise.all(vms.map((vm) => vm.exec("cat file; ls | wc -l")));
  expect(results.map(({ stdout }) => stdout)).toEqual(vms.map((_, index) => `${index}\n1\n`));
});

test("VMs that come and go leak no descriptor, process or memory", async () => {
  const server = nodeScript(`
    const fs = require("node:fs");
    const { descendants, prebootedGone } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    const cycle = async () => { const vm = await AgentVm.create(); await vm.exec("sleep 1000 &"); await vm.dispose(); };
    const round = async (count) => { for (let i = 0; i < count; i += 5) await Promise.all([1, 2, 3, 4, 5].map(cycle)); };
    await round(20);
    await prebootedGone(process.pid);
    const [fds, rss] = [fs.readdirSync("/proc/self/fd").length, process.memoryUsage.rss()];
    await round(150);
    await prebootedGone(process.pid);
    console.log(JSON.stringify({
      fds: fs.readdirSync("/proc/self/fd").length - fds,
      children: descendants(process.pid).length,
      grew: process.memoryUsage.rss() - rss,
    }));`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const { fds, children, grew } = JSON.parse(stdout);
  expect(fds).toBeLessThanOrEqual(0);
  expect(children).toBe(0);
  expect(grew).toBeLessThan(60e6);
}, 120_000);

test("a fork bomb ends at the limit of processes, and the VM and the host continue", async () => {
  const vm = await boot({ limits: { pids: 100 } });
  const other = await boot();
  await vm.exec("f() { f | f & f; }; f", { timeout: 500, maxOutputBytes: 1000 });
  expect((await other.exec("echo on")).stdout).toBe("on\n");
  await until(async () => {
    const { stdout } = await vm.exec("echo on").catch(() => ({}));
    return stdout === "on\n";
  });
});

test("active commands are counted, what they left is not", async () => {
  const vm = await AgentVm.create();
  expect(vm.activeCount).toBe(0);
  const pending = [vm.exec("sleep 0.2"), vm.execFile("sleep", ["0.2"])];
  await until(() => vm.activeCount === 2);
  await Promise.all(pending);
  await vm.exec("sleep 1000 &");
  expect(vm.activeCount).toBe(0);
  await vm.dispose();
  expect(vm.activeCount).toBe(0);
});
