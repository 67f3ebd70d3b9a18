// Spawned processes: how many in a second, how fast their output arrives, and how long it takes to list all of them.
import { setTimeout as sleep } from "node:timers/promises";
import { check, each, parallel, timed } from "./measure.mjs";

export const spawns = {
  title: "200 spawns of `true`, 16 at a time",
  unit: "/s",
  contenders: ["agent-vm", "child_process", "execa"],
  wanted: { against: "child_process", atLeast: 1.5 },
  async measure({ open }) {
    const session = await open();
    const once = async () => check(await session.run("true", []), 0);
    await each(20, once);
    const samples = await each(3, () => parallel(200, 16, once));
    await session.close();
    return { samples };
  },
};

export const stdout = {
  title: "1 GiB of stdout into JavaScript",
  unit: "MB/s",
  contenders: ["agent-vm", "child_process"],
  wanted: { against: "child_process", atLeast: 1.5 },
  measure: ({ open }) => throughput(open, "stream"),
};

export const stdoutHandle = {
  title: "1 GiB from the `stdout` of a handle",
  unit: "MB/s",
  contenders: ["agent-vm", "agent-vm-events", "child_process"],
  wanted: { against: "agent-vm-events", atLeast: 0.9 },
  measure: ({ open }) => throughput(open, "readStdout"),
};

/** Reads 1 GiB by the session's `method`. */
async function throughput(open, method) {
  const session = await open();
  const wanted = 1024 ** 3;
  let bytes = 0;
  let chunks = 0;
  const before = process.memoryUsage().rss;
  const begun = performance.now();
  const code = await session[method]("dd", ["if=/dev/zero", "bs=1M", "count=1024", "status=none"], (chunk) => {
    bytes += chunk.length;
    chunks++;
    check(chunk[0] + chunk[chunk.length - 1], 0);
  });
  const seconds = (performance.now() - begun) / 1000;
  check([code, bytes], [0, wanted]);
  await session.close();
  const peak = process.resourceUsage().maxRSS * 1024 - before;
  return {
    samples: [wanted / 1e6 / seconds],
    extra: { "peak MB more": peak / 1e6, "KiB a chunk": wanted / chunks / 1024 },
  };
}

export const table = {
  title: "`allProcesses` with 300 processes",
  unit: "ms",
  contenders: ["agent-vm"],
  wanted: { value: 5 },
  async measure({ open }) {
    const session = await open();
    const group = session.run("sh", ["-c", "for i in $(seq 299); do sleep 1000 & done; wait"]);
    const sleeping = (list) => list.filter(({ command }) => command === "sleep").length;
    // Until it executes its program, a child of the shell has the shell's name.
    while (sleeping(await session.processes()) < 299) await sleep(20);
    const samples = await each(100, async () => {
      let list;
      const ms = await timed(async () => (list = await session.processes()));
      check(list.length, 300);
      check(sleeping(list), 299);
      return ms;
    });
    group.catch(() => {});
    await session.close();
    return { samples };
  },
};
