"use strict";
// A server is killed at any moment while it boots VMs.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { deadDirectories } = require("./fixture/cgroups");
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
    time.sleep(random.random() ** 2 * 0.05)
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

test("a server killed at any moment of a boot leaves no process, cgroup or temporary file", async () => {
  const { checks } = await AgentVm.doctor();
  const { ok } = checks.find(({ name }) => name === "memory limit");
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-killed-"));
  const seed = Math.floor(Math.random() * 2 ** 31);
  const keeper = nodeScript(
    `
    console.log("ready");
    const limits = ${ok} ? { memoryBytes: 2 ** 26, cpus: 1 } : {};
    const boot = async (options) => { for (;;) await (await AgentVm.create(options)).exec("sleep 1000 & (setsid sleep 1000 &)"); };
    await Promise.all([boot({}), boot({ limits }), boot({})]);`,
    { prefix: ["python3", "-c", KEEPER, "30", String(seed)], env: { TMPDIR: directory } },
  );
  const { stdout, stderr } = await keeper.ended;
  // The seed determines the moments, as far as a machine repeats itself.
  expect({ seed, stdout, stderr }).toEqual({ seed, stdout: "nothing is left", stderr: "" });
  expect({ seed, left: fs.readdirSync(directory) }).toEqual({ seed, left: [] });
  fs.rmdirSync(directory);
  // Checked now, because other servers of this machine may be killed at any time.
  const dead = deadDirectories();
  await until(async () => {
    await nodeScript(`await (await AgentVm.create()).dispose();`).ended;
    return !dead.some((directory) => fs.existsSync(directory));
  });
}, 120_000);
