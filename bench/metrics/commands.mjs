// Commands: how long one takes, how many run in a second, and how long the call blocks the caller.
import { check, each, parallel, timed } from "./measure.mjs";
import { agentOs } from "./peers.mjs";

const everybody = ["agent-vm", "child_process", "execa", "bwrap", "sandbox-runtime", ...agentOs];
const hello = async (session) => check(await session.exec("echo hello"), "hello\n");

export const exec = {
  title: '`exec("echo hello")`, one at a time',
  unit: "ms",
  contenders: everybody,
  wanted: { against: "child_process", atMost: 0.6 },
  async measure({ open }) {
    const session = await open();
    await each(20, () => hello(session), { seconds: 1 });
    const samples = await each(300, () => timed(() => hello(session)), { seconds: 3 });
    await session.close();
    return { samples };
  },
};

export const execParallel = {
  title: '`exec("echo hello")`, 16 at a time',
  unit: "/s",
  contenders: everybody,
  wanted: { against: "child_process", atLeast: 1.5 },
  async measure({ open }) {
    const session = await open();
    await each(20, () => hello(session), { seconds: 1 });
    const samples = await each(5, () => parallel(200, 16, () => hello(session), { seconds: 2 }), { seconds: 4 });
    await session.close();
    return { samples };
  },
};

export const loopHeld = {
  title: "event loop held by the call of `exec`, 512 MB resident",
  unit: "ms",
  contenders: ["agent-vm", "child_process", "execa", "bwrap"],
  wanted: { against: "child_process", atMost: 0.003, value: 0.05 },
  async measure({ open }) {
    // Filled with 1, because the kernel would back zeros with its shared zero page.
    const resident = Array.from({ length: 8 }, () => Buffer.alloc(64 * 1024 * 1024, 1));
    const session = await open();
    await each(20, () => hello(session));
    const before = performance.eventLoopUtilization();
    const samples = await each(200, async () => {
      const begun = performance.now();
      const done = hello(session);
      const held = performance.now() - begun;
      await done;
      return held;
    });
    const { active } = performance.eventLoopUtilization(before);
    await session.close();
    check(resident.length, 8);
    return { samples, extra: { "loop busy per call, ms": active / samples.length } };
  },
};

export const execText = {
  title: "`exec` of 256 MiB of text",
  unit: "MB/s",
  contenders: ["agent-vm", "child_process", "execa"],
  wanted: { against: "child_process", atLeast: 1.5 },
  async measure({ open }) {
    const session = await open();
    const line = "the quick brown fox jumps over the lazy dog 0123456789 abcdefg\n";
    const lines = (16 * 1024 * 1024) / 64;
    check(line.length, 63);
    // A file that is in memory for every contender; cat writes it in pieces of 128 KiB.
    const file = `/dev/shm/agent-vm-bench-${process.pid}`;
    await session.exec(`yes '${line.trim()} ' | head -n ${lines} > ${file}`);
    try {
      const bytes = 256 * 1024 * 1024;
      const command = `cat${` ${file}`.repeat(16)}`;
      const before = process.memoryUsage().rss;
      const begun = performance.now();
      const text = await session.exec(command, { maxBytes: bytes + 1 });
      const seconds = (performance.now() - begun) / 1000;
      check(text.length, bytes);
      check(text.slice(0, 64) + text.slice(-64), `${line.trim()} \n`.repeat(2));
      const peak = process.resourceUsage().maxRSS * 1024 - before;
      return { samples: [bytes / 1e6 / seconds], extra: { "peak MB more": peak / 1e6 } };
    } finally {
      await session.exec(`rm ${file}`);
      await session.close();
    }
  },
};
