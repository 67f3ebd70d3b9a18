"use strict";
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");

const prebooted = (pid) => descendants(pid, { prebooted: true }).filter(({ name }) => name === "agent-vm-spare");

test("the next VM is prebooted, and the next create takes it", async () => {
  const server = nodeScript(`
    const { descendants } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    const named = (wanted) => descendants(process.pid, { prebooted: true }).filter(({ name }) => name === wanted);
    await AgentVm.create();
    let prebooted;
    while (!([prebooted] = named("agent-vm-spare"), prebooted)) await new Promise(setImmediate);
    const vm = await AgentVm.create();
    await vm.exists("/");
    console.log(named("agent-vm-init").some(({ pid }) => pid === prebooted.pid));
    process.exit();`);
  expect(await server.line()).toBe("true");
});

test("the prebooted VM ends when no VM is made for a while, and with the server, however that ends", async () => {
  const server = nodeScript("await AgentVm.create(); setInterval(() => {}, 1000);");
  await until(() => prebooted(server.child.pid).length === 1);
  await until(() => prebooted(server.child.pid).length === 0);

  const other = nodeScript("await AgentVm.create(); setInterval(() => {}, 1000);");
  await until(() => prebooted(other.child.pid).length === 1);
  const left = descendants(other.child.pid, { prebooted: true, zygote: true });
  expect(left.filter(({ name }) => name === "agent-vm-zygote")).toHaveLength(1);
  other.child.kill("SIGKILL");
  await until(() => running(left).length === 0);
  server.child.kill("SIGKILL");
  await Promise.all([server.ended, other.ended]);
});

test("concurrent boots share the prebooted VM without waiting for each other", async () => {
  const server = nodeScript(`
    for (let round = 0; round < 3; round++) {
      const vms = await Promise.all(Array.from({ length: 20 }, () => AgentVm.create()));
      const ids = await Promise.all(vms.map(async (vm) => (await vm.exec("readlink /proc/self/ns/pid")).stdout));
      console.log(new Set(ids).size);
      await Promise.all(vms.map((vm) => vm.dispose()));
    }`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(stdout).toBe("20\n20\n20");
});

test("a VM with other options does not take the prebooted one", async () => {
  const server = nodeScript(`
    const vms = [];
    for (const options of [{}, { env: { A: "1" } }, { hostname: "other" }, { env: { B: "2" } }, { limits: { pids: 50 } }]) {
      const vm = await AgentVm.create(options);
      vms.push((await vm.exec("echo $A $B $(uname -n) $(awk '/processes/ {print $3}' /proc/self/limits) $HOME")).stdout.trim());
    }
    console.log(vms.join("\\n"));
    process.exit();`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const home = "/home/user";
  expect(stdout.split("\n")).toEqual([
    `agent-vm 4096 ${home}`,
    `1 agent-vm 4096 ${home}`,
    `other 4096 ${home}`,
    `2 agent-vm 4096 ${home}`,
    `agent-vm 50 ${home}`,
  ]);
});

test("a killed prebooted VM or zygote is skipped", async () => {
  const server = nodeScript(`
    const { descendants, running } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    const { until } = require(${JSON.stringify(require.resolve("./fixture/promises"))});
    const named = (wanted) => descendants(process.pid, { prebooted: true, zygote: true }).find(({ name }) => name === wanted);
    const kill = async (name) => {
      // The prebooted VM of the other kind has ended by then, and one of the last VM's kind is ready.
      await new Promise((resolve) => setTimeout(resolve, 300));
      const found = await until(() => named(name));
      process.kill(found.pid, "SIGKILL");
      while (running([found]).length > 0) await new Promise(setImmediate);
    };
    const names = async (options) => console.log((await (await AgentVm.create(options)).exec("uname -n")).stdout.trim());
    await names();
    await kill("agent-vm-spare");
    await names();
    const mounts = [{ path: "/host", hostPath: "/usr" }];
    await names({ mounts });
    await kill("agent-vm-spare");
    await names({ mounts });
    for (const hostname of ["a", "b"]) {
      await kill("agent-vm-zygote");
      await names({ hostname });
    }
    process.exit();`);
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual([...Array(4).fill("agent-vm"), "a", "b"]);
});
