"use strict";
// What a server makes in the host's cgroups goes with its VMs, or else with the next server.

const fs = require("node:fs");
const path = require("node:path");
const { descendants, running } = require("./fixture/processes");
const { directoriesOf, ownDirectories, serverNumber } = require("./fixture/cgroups");
const { until } = require("./fixture/vm");
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

/** A server with two VMs that run something; its number, its directories and its processes. */
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

test("a VM's directories go when it is disposed, while its server lives", async () => {
  const { server, number } = await serverWithVms();
  server.child.kill("SIGUSR2");
  await server.line();
  // Those of an init that was started ahead go with it, when no VM has taken it for a while.
  await until(() => directoriesOf(number).length === 0);
});

test("what a killed server leaves is removed by the next one", async () => {
  const { server, number, processes } = await serverWithVms();
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
  // Neither asks for limits: what is left is found all the same.
  const next = nodeScript(`await (await AgentVm.create()).dispose(); console.log("done");`);
  expect((await next.ended).stdout).toBe("done");
  expect(directoriesOf(number)).toEqual([]);
});

test("a server that lives keeps its own when another one starts", async () => {
  const { number } = await serverWithVms();
  const before = directoriesOf(number);
  await nodeScript(`await (await AgentVm.create()).dispose();`).ended;
  expect(directoriesOf(number)).toEqual(before);
});

// As systemd's `Delegate=yes` does it.
if (process.getuid() === 0) {
  describe("a server of an ordinary user's in a cgroup that is delegated to it", () => {
    // Of the users that are no persons', whom `useradd --system` makes, few have a group of the same number.
    const USER = 54_321;
    const GROUP = 54_322;

    let delegated;
    beforeEach(() => {
      const own = ownDirectories().find((directory) => fs.existsSync(path.join(directory, "cgroup.controllers")));
      delegated = fs.mkdtempSync(path.join(own, "agent-vm-test-"));
      for (const file of ["", "cgroup.procs", "cgroup.subtree_control"]) {
        fs.chownSync(path.join(delegated, file), USER, GROUP);
      }
    });
    afterEach(async () => {
      // What its server made ahead ends a moment after it.
      const events = () => fs.readFileSync(path.join(delegated, "cgroup.events"), "utf8");
      await until(() => events().includes("populated 0"));
      const all = (directory) => [
        ...fs
          .readdirSync(directory, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .flatMap(({ name }) => all(path.join(directory, name))),
        directory,
      ];
      for (const directory of all(delegated)) fs.rmdirSync(directory);
    });

    test("gives its VMs cgroups below it, also where the user's group has another number", async () => {
      const prefix = [
        "sh",
        "-c",
        `echo $$ >${delegated}/cgroup.procs && exec setpriv --reuid=${USER} --regid=${GROUP} --clear-groups --inh-caps=-all "$@"`,
        "sh",
      ];
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
        { prefix, from: readableCopy() },
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
  });
}
