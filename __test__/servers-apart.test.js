"use strict";
// Servers of one machine that do not see each other's sockets, because each has its own network namespace, like two
// units with systemd's `PrivateNetwork=`, or two containers.

const fs = require("node:fs");
const path = require("node:path");
const { directoriesOf, serverNumber } = require("./fixture/cgroups");
const { descendants, running } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { heldLimits, served } = require("./fixture/limits");

const isRoot = process.getuid() === 0;

/**
 * The first words of a command line: the command after them runs in its own network namespace, as this process's user.
 */
const APART = isRoot
  ? ["unshare", "--net"]
  : ["unshare", "--user", `--map-user=${process.getuid()}`, `--map-group=${process.getgid()}`, "--net"];

/**
 * Two servers that do not see each other's processes either and have no cgroups, so that they share only ids. They end
 * with the process that started them.
 */
const HIDDEN = [
  ...["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
  ...["sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh"],
];

let limits;
let named;
beforeAll(() => {
  limits = heldLimits(2 ** 27);
  named = served.cgroup;
});

/**
 * A server with idle VMs, with and without limits. At each SIGUSR2 it uses them in every way and prints the results.
 */
async function idleServer(prefix) {
  const server = nodeScript(
    `
    const vms = [];
    for (const limits of [{}, ${JSON.stringify(limits)}]) vms.push(await AgentVm.create({ limits }));
    for (const vm of vms) await Promise.all([1, 2, 3].map(() => vm.exec("true")));
    process.on("SIGUSR2", async () => {
      const ways = vms.flatMap((vm) => [
        vm.exec("echo on").then(({ stdout }) => stdout),
        vm.spawn("sleep", ["1000"]).then(({ pid }) => vm.killProcess(pid)).then(() => "spawned"),
        vm.openShell().then(({ shellId }) => vm.closeShell(shellId)).then(() => "shell"),
      ]);
      const ended = await Promise.allSettled(ways);
      console.log(JSON.stringify(ended.map(({ value, reason }) => (reason ? String(reason) : value))));
    });
    console.log("ready");
    setInterval(() => {}, 1000);`,
    { prefix },
  );
  expect(await server.line()).toBe("ready");
  return server;
}

const WELL = Array(2).fill(["on\n", "spawned", "shell"]).flat();

/** The results of such a server's VMs. */
async function used(server) {
  server.child.kill("SIGUSR2");
  return JSON.parse(await server.line());
}

/** A server that boots VMs, and so looks for leftovers of dead servers, and exits. */
async function otherServer(prefix) {
  const other = nodeScript(
    `
    for (const limits of [{}, ${JSON.stringify(limits)}]) await (await AgentVm.create({ limits })).dispose();
    console.log("done");`,
    { prefix },
  );
  expect(await other.ended).toMatchObject({ stdout: "done", stderr: "" });
}

test("a server in another network namespace does not disturb this server's idle VMs", async () => {
  const server = await idleServer([]);
  const number = descendants(server.child.pid)
    .map(({ pid }) => serverNumber(pid))
    .find(Boolean);
  // In the version 2 hierarchy; an ordinary user without a delegated directory has nothing that could be removed.
  expect(number !== undefined).toBe(named);
  await otherServer(APART);
  expect(await used(server)).toEqual(WELL);
  await otherServer(APART);
  expect(await used(server)).toEqual(WELL);
});

test("a server does not disturb the idle VMs of a server in another network namespace", async () => {
  const server = await idleServer(APART);
  await otherServer([]);
  expect(await used(server)).toEqual(WELL);
});

test("what a killed server leaves there is removed by the next server here", async () => {
  const server = await idleServer(APART);
  const processes = descendants(server.child.pid, { prebooted: true });
  const number = processes.map(({ pid }) => serverNumber(pid)).find(Boolean);
  expect(directoriesOf(number).length >= 2).toBe(named);
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
  await otherServer([]);
  expect(directoriesOf(number)).toEqual([]);
});

if (isRoot) {
  test("two root servers that share a few ids and no network namespace give no id to two VMs", async () => {
    const script = path.join(__dirname, "fixture/few-ids.py");
    const each = 30;
    const source = `
      const vms = await Promise.all(Array.from({ length: ${each} }, () => AgentVm.create()));
      console.log("ready");
      setInterval(() => {}, 1000);`;
    const run = nodeScript(
      `
      const { spawn } = require("node:child_process");
      const servers = [1, 2].map(() => spawn("setpriv", [...${JSON.stringify(HIDDEN)}, process.execPath, "-e", process.env.SOURCE], { stdio: ["ignore", "pipe", "inherit"] }));
      await Promise.all(servers.map(({ stdout }) => new Promise((resolve) => { stdout.once("data", resolve); })));
      console.log(servers.length);
      setInterval(() => {}, 1000);`,
      {
        prefix: ["python3", script],
        env: {
          SOURCE: `const { AgentVm } = require(${JSON.stringify(path.join(__dirname, ".."))}); (async () => { ${source} })();`,
        },
      },
    );
    expect(await run.line()).toBe("2");
    const inits = descendants(run.child.pid).filter(
      ({ name }) => name === "agent-vm-init" || name === "agent-vm-spare",
    );
    const ids = inits.map(({ pid }) => /^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
    expect(ids.length).toBeGreaterThanOrEqual(2 * each);
    expect(new Set(ids).size).toBe(ids.length);
  });
}
