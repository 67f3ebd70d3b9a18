"use strict";
const fs = require("node:fs");
const os = require("node:os");
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, output } = require("./fixture/vm");

test("isolation is namespaces, by default and when asked for", async () => {
  expect((await boot()).isolation).toBe("namespaces");
  expect((await boot({ isolation: "namespaces" })).isolation).toBe("namespaces");
});

test("each VM has namespaces of its own, all of them", async () => {
  const [one, other] = await Promise.all([boot(), boot()]);
  const list = (vm) => output(vm, "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done");
  const [first, second] = (await Promise.all([list(one), list(other)])).map((text) => text.trim().split("\n"));
  const host = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map((name) =>
    fs.readlinkSync(`/proc/self/ns/${name}`),
  );
  expect(new Set([...first, ...second, ...host]).size).toBe(21);
});

test("without isolation, commands run as the server's user on the host, in a home that is removed with the VM", async () => {
  const others = new Set(descendants(process.pid).map(({ pid }) => pid));
  const vm = await boot({ isolation: "none" });
  expect(vm.isolation).toBe("none");
  expect(await output(vm, "id -u")).toBe(`${process.getuid()}\n`);
  expect(await output(vm, "hostname")).toBe(`${os.hostname()}\n`);
  const home = (await output(vm, "echo x > file; pwd")).trim();
  expect(home).not.toBe(os.homedir());
  expect(fs.readFileSync(`${home}/file`, "utf8")).toBe("x\n");
  expect(await vm.exec("sleep 1000", { timeout: 100 })).toMatchObject({ timedOut: true });
  await vm.exec("sleep 1000 & setsid -f sleep 1000");
  const processes = descendants(process.pid).filter(({ pid }) => !others.has(pid));
  expect(processes.length).toBeGreaterThanOrEqual(3);
  await vm.dispose();
  expect(fs.existsSync(home)).toBe(false);
  await until(() => running(processes).length === 0);
});

test("a VM without isolation gets no environment variable of the server either", async () => {
  process.env.AGENT_VM_TEST_SECRET = "of the host";
  try {
    expect(await output(await boot({ isolation: "none" }), "env")).not.toContain("AGENT_VM_TEST_SECRET");
  } finally {
    delete process.env.AGENT_VM_TEST_SECRET;
  }
});

test("the processes of a VM without isolation end with the server", async () => {
  const server = nodeScript(`
    globalThis.vm = await AgentVm.create({ isolation: "none" });
    await vm.exec("sleep 1000 & setsid -f sleep 1000");
    console.log("ready");
    setInterval(() => {}, 1000);`);
  await server.line();
  const processes = descendants(server.child.pid);
  expect(processes.length).toBeGreaterThanOrEqual(3);
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
});
