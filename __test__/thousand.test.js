"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { nodeScript } = require("./fixture/server-process");

test("a thousand VMs made and disposed leave no process, mount, cgroup, descriptor, file or memory", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-thousand-"));
  const server = nodeScript(
    `
    const fs = require("node:fs");
    const { descendants } = require(${JSON.stringify(require.resolve("./fixture/processes"))});
    const { directoriesOf, serverNumber } = require(${JSON.stringify(require.resolve("./fixture/cgroups"))});
    const state = () => ({
      processes: descendants(process.pid, { prebooted: true }).length,
      mounts: fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length,
      descriptors: fs.readdirSync("/proc/self/fd").length,
      files: fs.readdirSync(process.env.TMPDIR).length,
    });
    const { checks } = await AgentVm.doctor();
    const limits = checks.find(({ name }) => name === "memory limit").ok ? { memoryBytes: 2 ** 26 } : {};
    let number;
    const cycle = async (index) => {
      const vm = await AgentVm.create(index % 10 === 0 ? { limits } : index % 10 === 1 ? { isolation: "none" } : {});
      if (index % 5 === 0) await vm.spawn("sleep", ["1000"]);
      if (index === 0) number = descendants(process.pid).map(({ pid }) => serverNumber(pid)).find(Boolean);
      await vm.dispose();
    };
    const round = async (from, to) => {
      let next = from;
      await Promise.all(Array.from({ length: 8 }, async () => { while (next < to) await cycle(next++); }));
    };
    await round(0, 100);
    const [before, memory] = [state(), process.memoryUsage.rss()];
    await round(100, 1000);
    // A prebooted VM ends when no create has taken it for a while.
    const left = () => descendants(process.pid, { prebooted: true }).length + directoriesOf(number).length;
    for (let i = 0; i < 600 && left() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(JSON.stringify({ before, after: state(), grown: process.memoryUsage.rss() - memory, cgroups: directoriesOf(number) }));`,
    { env: { TMPDIR: directory } },
  );
  const { stdout, stderr } = await server.ended;
  expect(stderr).toBe("");
  const { before, after, grown, cgroups } = JSON.parse(stdout);
  expect({ ...after, descriptors: 0 }).toEqual({ ...before, processes: 0, files: 0, descriptors: 0 });
  // Idle threads may have ended, with their descriptors.
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  expect(cgroups).toEqual([]);
  expect(grown).toBeLessThan(60e6);
  fs.rmdirSync(directory);
}, 120_000);
