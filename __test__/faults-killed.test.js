"use strict";
// A server is killed at any moment while it boots VMs.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { deadDirectories } = require("./fixture/cgroups");
const { afterTest } = require("./fixture/cleanup");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { AgentVm } = require("..");

/**
 * Kills servers one after the other and adopts the processes that they leave; ends when the last of these has ended.
 */
const KEEPER = `
import ctypes, os, random, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
rounds, seed = int(sys.argv[1]), int(sys.argv[2])
random.seed(seed)
for _ in range(rounds):
    server = subprocess.Popen(sys.argv[3:], stdout=subprocess.PIPE)
    server.stdout.readline()
    time.sleep(random.random() ** 2 * float(os.environ["LONGEST"]))
    server.kill()
    server.wait()
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("nothing is left", flush=True)
        break
    if pid == 0:
        time.sleep(0.01)
`;

/**
 * Kills servers that do `work` at moments until `longest` seconds after they are ready, and checks that nothing is left of them. The
 * names in `kept` may be left in their directory of temporary files, which is returned. AGENT_VM_TEST_KILLS is how many (30).
 */
async function killServers(work, longest, kept = []) {
  const rounds = process.env.AGENT_VM_TEST_KILLS ?? "30";
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-killed-"));
  afterTest(() => fs.rmSync(directory, { recursive: true, force: true }));
  const seed = Math.floor(Math.random() * 2 ** 31);
  const keeper = nodeScript(work, {
    prefix: ["python3", "-c", KEEPER, rounds, String(seed)],
    env: { TMPDIR: directory, LONGEST: String(longest) },
  });
  const { stdout, stderr } = await keeper.ended;
  // The seed determines the moments, as far as a machine repeats itself.
  expect({ seed, stdout, stderr }).toEqual({ seed, stdout: "nothing is left", stderr: "" });
  const left = fs.readdirSync(directory).filter((name) => !kept.includes(name));
  expect({ seed, left }).toEqual({ seed, left: [] });
  // Checked now, because other servers of this machine may be killed at any time.
  const dead = deadDirectories();
  await until(async () => {
    await nodeScript(`await (await AgentVm.create()).dispose();`).ended;
    return !dead.some((one) => fs.existsSync(one));
  });
  return directory;
}

test("a server killed at any moment of a boot leaves no process, cgroup or temporary file", async () => {
  const { checks } = await AgentVm.doctor();
  const { ok } = checks.find(({ name }) => name === "memory limit");
  await killServers(
    `
    console.log("ready");
    const limits = ${ok} ? { memoryBytes: 2 ** 26, cpus: 1 } : {};
    const boot = async (options) => { for (;;) await (await AgentVm.create(options)).exec("sleep 1000 & (setsid sleep 1000 &)"); };
    await Promise.all([boot({}), boot({ limits }), boot({})]);`,
    0.05,
  );
}, 600_000);

test("a server killed at any moment of a snapshot, rollback, fork or removal leaves nothing, and its disk is well", async () => {
  const { checks } = await AgentVm.doctor();
  const freezes = checks.find(({ name }) => name === "cgroup").ok;
  const directory = await killServers(
    `
    const fs = require("node:fs");
    const directory = process.env.TMPDIR + "/disks";
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const work = async (runs) => {
      const vm = await AgentVm.create();
      if (runs) await vm.spawn("sh", ["-c", "while :; do echo x > x; rm x; done"]);
      for (let step = 0; ; step++) {
        await vm.exec("mkdir -p d; echo " + step + " > d/" + step);
        const made = [await vm.snapshot()];
        const forks = await vm.fork(2);
        await forks[0].exec("echo x > d/x");
        made.push(await forks[0].snapshot());
        await forks[1].rollback(made[1]);
        await vm.rollback(made[0], { kill: runs });
        if (runs) await vm.spawn("sh", ["-c", "while :; do echo x > x; rm x; done"]);
        for (const one of made) await AgentVm.snapshots.remove(one);
        await Promise.all(forks.map((one) => one.dispose()));
      }
    };
    const disk = async (name) => {
      for (;;) {
        const vm = await AgentVm.create({ disk: { directory, name }, limits: { diskBytes: null } }).catch(() => undefined);
        await vm?.exec("n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) > n.new && mv n.new n");
        await vm?.dispose();
      }
    };
    const ready = AgentVm.create().then((vm) => vm.dispose());
    await ready;
    console.log("ready");
    await Promise.all([work(false), work(${freezes}), disk("kept"), disk(undefined)]);`,
    0.3,
    ["disks"],
  );
  const disks = path.join(directory, "disks");
  const options = { limits: { diskBytes: null } };
  await (await AgentVm.create({ ...options, disk: { directory: disks } })).dispose();
  expect(fs.readdirSync(disks).sort()).toEqual([".lock", "kept"]);
  const vm = await AgentVm.create({ ...options, disk: { directory: disks, name: "kept" } });
  expect((await vm.exec("cat n; ls")).stdout).toMatch(/^\d+\nn\n(n.new\n)?$/);
  await vm.dispose();
}, 600_000);
