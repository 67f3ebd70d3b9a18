"use strict";
// A server that runs out of something: calls say so by the errno's name, and work again once it is back.

const { nodeScript } = require("./node-script");

/** What a server prints that has no more descriptors than `limit`. */
async function withFewDescriptors(limit, source) {
  const server = nodeScript(source, { prefix: ["prlimit", `--nofile=${limit}:${limit}`] });
  const { stdout, stderr, code } = await server.ended;
  expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
  return JSON.parse(stdout);
}

const helpers = `
  const fs = require("node:fs");
  const { descendants, spareGone } = require(${JSON.stringify(require.resolve("./host-processes"))});
  const taken = [];
  const open = () => fs.readdirSync("/proc/self/fd").length;
  const take = () => { try { for (;;) taken.push(fs.openSync("/dev/null")); } catch { /* none is left */ } };
  const give = (count = taken.length) => { for (const fd of taken.splice(0, count)) fs.closeSync(fd); };
  const code = (promise) => promise.then(() => "ok", (error) => error.code);`;

test("a VM asked for when descriptors run out, at whatever step, is refused with EMFILE, and nothing of it is left", async () => {
  const { codes, children, leaked, last } = await withFewDescriptors(
    200,
    `${helpers}
    await (await AgentVm.create()).dispose();
    await spareGone(process.pid);
    const before = open();
    const codes = [];
    for (let free = 0; free <= 30; free++) {
      take();
      give(free);
      codes.push(await AgentVm.create().then(async (vm) => {
        const result = await code(vm.exec("echo on"));
        await vm.dispose();
        return result;
      }, (error) => error.code));
      give();
    }
    const vm = await AgentVm.create();
    const last = (await vm.exec("echo on")).stdout;
    await vm.dispose();
    await spareGone(process.pid);
    console.log(JSON.stringify({ codes, children: descendants(process.pid).length, leaked: Math.max(0, open() - before), last }));`,
  );
  expect(last).toBe("on\n");
  expect({ children, leaked }).toEqual({ children: 0, leaked: 0 });
  expect(codes[0]).toBe("EMFILE");
  expect(codes.at(-1)).toBe("ok");
  expect(codes.filter((one) => one !== "ok" && one !== "EMFILE")).toEqual([]);
}, 60_000);

test("calls of a VM that is up say EMFILE, and are well when descriptors come back", async () => {
  const { codes, after, running } = await withFewDescriptors(
    150,
    `${helpers}
    const vm = await AgentVm.create();
    await vm.exec("true");
    await vm.writeFile("/tmp/file", "content");
    const { pid } = await vm.spawn("cat");
    await spareGone(process.pid);
    take();
    const calls = {
      exec: () => vm.exec("echo on"),
      spawn: () => vm.spawn("sleep", ["0"]),
      shell: () => vm.openShell(),
      read: () => vm.readFile("/tmp/file"),
      write: () => vm.writeFile("/tmp/other", "x"),
      list: () => vm.readdir("/tmp"),
      processes: () => vm.allProcesses(),
      connect: () => vm.connect(1),
    };
    const codes = {};
    for (const [name, call] of Object.entries(calls)) codes[name] = await code(call());
    // What runs already goes on.
    await vm.writeProcessStdin(pid, "still here");
    await vm.closeProcessStdin(pid);
    const running = await vm.waitProcess(pid);
    give();
    const after = {};
    for (const [name, call] of Object.entries(calls)) after[name] = await code(call());
    await vm.dispose();
    console.log(JSON.stringify({ codes, after, running }));
    process.exit();`,
  );
  expect(codes).toEqual(Object.fromEntries(Object.keys(codes).map((name) => [name, "EMFILE"])));
  expect(after).toEqual({
    ...Object.fromEntries(Object.keys(codes).map((name) => [name, "ok"])),
    connect: "ECONNREFUSED",
  });
  expect(running).toBe(0);
});

test("the process table is whole, or an EMFILE, however few descriptors are free", async () => {
  const { counts } = await withFewDescriptors(
    150,
    `${helpers}
    const vm = await AgentVm.create();
    await vm.spawn("sh", ["-c", "for i in $(seq 199); do sleep 1000 & done; echo started; wait"]);
    await new Promise((resolve) => vm.once("processOutput", resolve));
    await vm.allProcesses();
    const counts = [];
    for (let free = 0; free <= 8; free++) {
      take();
      give(free);
      counts.push(await vm.allProcesses().then((all) => all.length, (error) => error.code));
      give();
    }
    await vm.dispose();
    console.log(JSON.stringify({ counts }));`,
  );
  expect(counts[0]).toBe("EMFILE");
  expect(counts.at(-1)).toBe(200);
  expect(counts.filter((one) => one !== 200 && one !== "EMFILE")).toEqual([]);
});
