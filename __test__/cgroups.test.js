"use strict";
// A server's directories in the host's cgroups are removed with its VMs or, at the latest, by the next server.

const { directoriesOf, serverNumber } = require("./fixture/cgroups");
const { delegatedCgroup } = require("./fixture/delegated-cgroup");
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript, readableCopy } = require("./fixture/server-process");
const { AgentVm } = require("..");

let limits;
let expected;
beforeAll(async () => {
  const { checks } = await AgentVm.doctor();
  const served = Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
  limits = { ...(served["memory limit"] && { memoryBytes: 2 ** 26 }), ...(served["cpu limit"] && { cpus: 1 }) };
  expected = served.cgroup || served["memory limit"] ? 1 : 0;
});

/** Starts a server with two VMs that run something; returns its number, its directories and its processes. */
async function serverWithVms() {
  const server = nodeScript(`
    const limits = ${JSON.stringify(limits)};
    const vms = await Promise.all([1, 2].map(() => AgentVm.create({ limits })));
    process.on("SIGUSR2", async () => { await Promise.all(vms.map((vm) => vm.dispose())); console.log("disposed"); });
    for (const vm of vms) await vm.exec("sleep 1000 & (sleep 1000 &)");
    console.log("ready");
    setInterval(() => {}, 1000);`);
  await server.line();
  const processes = descendants(server.child.pid);
  const number = processes.map(({ pid }) => serverNumber(pid)).find(Boolean);
  const directories = directoriesOf(number);
  expect(directories.length).toBeGreaterThanOrEqual(2 * expected);
  return { server, number, processes };
}

test("a VM's cgroup directories are removed when it is disposed, while its server lives", async () => {
  const { server, number } = await serverWithVms();
  server.child.kill("SIGUSR2");
  await server.line();
  // The directories of a prebooted VM are removed with it, when no `create` has taken it for a while.
  await until(() => directoriesOf(number).length === 0);
});

test("what a killed server leaves is removed by the next one", async () => {
  const { server, number, processes } = await serverWithVms();
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
  // Neither VM asks for limits: leftovers are found anyway.
  const next = nodeScript(`await (await AgentVm.create()).dispose(); console.log("done");`);
  expect((await next.ended).stdout).toBe("done");
  expect(directoriesOf(number)).toEqual([]);
});

test("a living server keeps its directories when another one starts", async () => {
  const { number } = await serverWithVms();
  const before = directoriesOf(number);
  await nodeScript(`await (await AgentVm.create()).dispose();`).ended;
  expect(directoriesOf(number)).toEqual(before);
});

// Only root can delegate a cgroup.
if (process.getuid() === 0) {
  test("an ordinary user's server in a delegated cgroup gives its VMs cgroups below it, whatever the user's group", async () => {
    const delegated = delegatedCgroup();
    const server = nodeScript(
      `
      const { level, checks } = await AgentVm.doctor();
      const served = Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
      const limits = { ...(served["memory limit"] && { memoryBytes: 2 ** 27 }), ...(served["cpu limit"] && { cpus: 1 }) };
      const vm = await AgentVm.create({ limits });
      const { stdout } = await vm.exec("echo on");
      const hidden = "(setsid env --ignore-environment /bin/sleep 1000 &) & sleep 1000";
      const { timedOut } = await vm.exec(hidden, { timeout: 200 });
      const left = await vm.allProcesses();
      await vm.dispose();
      console.log(JSON.stringify({ level, named: served.cgroup, stdout, timedOut, left }));`,
      { prefix: delegated.prefix, from: readableCopy() },
    );
    const { stdout, stderr } = await server.ended;
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      level: "namespaces",
      named: true,
      stdout: "on\n",
      timedOut: true,
      left: [],
    });
  });
}
