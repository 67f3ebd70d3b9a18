"use strict";
const { nodeScript, readableCopy } = require("./fixture/server-process");

/** A command that runs a server as a user who may have `count` processes and threads. */
function withFewProcesses(count) {
  const few = ["prlimit", `--nproc=${count}:${count}`];
  // In its own user namespace, a user's processes are counted from 0. The kernel never refuses root's processes, so
  // root becomes a user that has none.
  if (process.getuid() !== 0) return ["unshare", "--user", "--map-user=1000", "--map-group=1000", ...few];
  const id = 50_000 + (process.pid % 10_000);
  return ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups", "--inh-caps=-all", ...few];
}

test("create rejects with EAGAIN if no process is left for init, and works when one is free again", async () => {
  const server = nodeScript(
    `
    const { spawn } = require("node:child_process");
    await (await AgentVm.create()).dispose();
    const children = [];
    const start = () => new Promise((resolve) => {
      const child = spawn("sleep", ["1000"], { stdio: "ignore" });
      child.on("error", () => resolve(false));
      child.on("spawn", () => resolve(children.push(child)));
    });
    while (children.length < 80 && (await start()));
    const taken = children.length;
    // One boot may use a prebooted VM.
    const booted = [];
    let refused;
    while (refused === undefined && booted.length < 3) {
      await AgentVm.create().then((vm) => booted.push(vm), (error) => (refused = error.code));
    }
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map((child) => new Promise((resolve) => child.on("exit", resolve))));
    await Promise.all(booted.map((vm) => vm.dispose()));
    const vm = await AgentVm.create();
    console.log(JSON.stringify({ all: taken < 80, refused, stdout: (await vm.exec("echo on")).stdout }));
    await vm.dispose();`,
    { prefix: withFewProcesses(80), from: readableCopy() },
  );
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({ all: true, refused: "EAGAIN", stdout: "on\n" });
});
