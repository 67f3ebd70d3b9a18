"use strict";
const { nodeScript } = require("./fixture/server-process");

/** How many seconds each writer is watched. A minute or more also reveals slow leaks: `AGENT_VM_SOAK_SECONDS=60`. */
const seconds = Number(process.env.AGENT_VM_SOAK_SECONDS ?? 4);

// In a separate Node.js, so that the memory is the VM's and not jest's.
const watch = (listen) => `
  const vm = await AgentVm.create();
  let bytes = 0;
  ${listen}
  const endless = await vm.spawn("sh", ["-c", "yes & exec yes >&2"]);
  const settle = () => new Promise((resolve) => setTimeout(resolve, 500));
  await settle();
  const start = process.memoryUsage().rss;
  let most = start;
  const execs = [];
  const outputs = [];
  const end = Date.now() + ${seconds * 1000};
  // A slow listener gets few chunks: it is watched until it has received enough of them.
  const written = async () => (await vm.readProcessOutput(endless.pid, { after: Number.MAX_SAFE_INTEGER })).nextSeq;
  while (Date.now() < end || execs.length <= 3 || (await written()) <= 20_000_000) {
    let from = performance.now();
    const { stdout } = await vm.exec("echo on");
    if (stdout !== "on\\n") throw new Error(stdout);
    execs.push(performance.now() - from);
    from = performance.now();
    const other = await vm.spawn("cat");
    const heard = new Promise((resolve) => {
      vm.on("processOutput", function listener({ pid, data }) {
        if (pid !== other.pid) return;
        vm.off("processOutput", listener);
        resolve(String(data));
      });
    });
    await vm.writeProcessStdin(other.pid, "other\\n");
    if (await heard !== "other\\n") throw new Error("other output");
    outputs.push(performance.now() - from);
    await vm.killProcess(other.pid);
    most = Math.max(most, process.memoryUsage().rss);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const middle = (times) => times.sort((a, b) => a - b)[times.length >> 1];
  const { running } = await vm.getProcess(endless.pid);
  const nextSeq = await written();
  console.log(JSON.stringify({ grown: most - start, exec: middle(execs), output: middle(outputs), bytes, nextSeq, running, rounds: execs.length }));
  await vm.dispose();`;

test.each([
  [
    "a listener that takes 5 ms a chunk",
    "vm.on('processOutput', ({ data }) => { bytes += data.length; const end = performance.now() + 5; while (performance.now() < end); });",
  ],
  ["a listener that does nothing", "vm.on('processOutput', () => {});"],
  ["no listener", ""],
])(
  "an endless writer with %s leaves the server's memory flat, and others' output and exec come at once",
  async (_, listen) => {
    const { stdout, stderr, code } = await nodeScript(watch(listen)).ended;
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const seen = JSON.parse(stdout);
    if (process.env.AGENT_VM_SOAK_SECONDS) console.log(seen);
    expect(seen.running).toBe(true);
    // Much was written, and all of it would be in memory if it were queued.
    expect(seen.nextSeq).toBeGreaterThan(20_000_000);
    expect(seen.grown).toBeLessThan(120_000_000);
    expect(seen.rounds).toBeGreaterThan(3);
    // Bounds for a busy machine; a call behind an endless queue would never return.
    expect(seen.exec).toBeLessThan(5000);
    expect(seen.output).toBeLessThan(5000);
  },
  seconds * 1000 + 120_000,
);

test("a listener that is slow slows the writer, and loses nothing", async () => {
  const { stdout, stderr } = await nodeScript(`
    const vm = await AgentVm.create();
    const hash = require("node:crypto").createHash("sha256");
    let chunks = 0;
    vm.on("processOutput", ({ data }) => {
      hash.update(data);
      if (++chunks < 100) { const end = performance.now() + 5; while (performance.now() < end); }
    });
    const { pid } = await vm.spawn("seq", ["3000000"]);
    const code = await vm.waitProcess(pid);
    console.log(code, hash.digest("hex"), (await vm.exec("seq 3000000 | sha256sum")).stdout.split(" ")[0]);
    await vm.dispose();`).ended;
  expect(stderr).toBe("");
  const [code, heard, expected] = stdout.split(" ");
  expect(code).toBe("0");
  expect(heard).toBe(expected);
});
