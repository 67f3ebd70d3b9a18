"use strict";
// A server whose user may have few processes: one VM takes as many as it gets, and another still starts programs.

const { execFileSync } = require("node:child_process");
const { nodeScript } = require("../fixture/server-process");

/** How many threads this process's user has, which is what the kernel counts. */
function threads() {
  const listed = execFileSync("ps", ["-e", "-L", "-o", "uid="], { encoding: "utf8" });
  return listed.split("\n").filter((line) => Number(line) === process.getuid() && line !== "").length;
}

test("one VM's forks leave processes for another VM and for the server", async () => {
  const most = 2 * threads() + 800;
  const FORK = `
import os, time
children = 0
try:
    while True:
        if os.fork() == 0: time.sleep(1000); os._exit(0)
        children += 1
except OSError: pass
print(children, flush=True)
time.sleep(1000)`;
  const server = nodeScript(
    `
    const { spawnSync } = require("node:child_process");
    const [vm, other] = await Promise.all([AgentVm.create(), AgentVm.create()]);
    let printed = "";
    const { pid } = await vm.spawn("python3", ["-c", ${JSON.stringify(FORK)}], { onStdout: (data) => (printed += data) });
    while (!printed.includes("\\n")) await new Promise((resolve) => setTimeout(resolve, 10));
    const { stdout } = await other.exec("for i in $(seq 50); do sleep 0.5 & done; wait; echo on");
    const onHost = spawnSync("true").status;
    await vm.killProcess(pid);
    console.log(JSON.stringify({ forked: Number(printed), stdout, onHost, after: (await vm.exec("echo on")).stdout }));
    process.exit();`,
    { prefix: ["prlimit", `--nproc=${most}:${most}`] },
  );
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({ stdout: "on\n", onHost: 0, after: "on\n" });
  expect(result.forked).toBeGreaterThan(300);
  // A root server's VMs have separate users, each of which may have as many as the server allows.
  expect(result.forked).toBeLessThanOrEqual(process.getuid() === 0 ? most : most / 2);
});
