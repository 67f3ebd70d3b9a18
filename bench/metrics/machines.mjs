// Whole VMs: how long booting and disposing take, with few and with many running.
import { setTimeout as sleep } from "node:timers/promises";
import { check, each, timed } from "./measure.mjs";
import { agentOs } from "./peers.mjs";
import { descendants, pauseUntilNothingIsReady } from "./tree.mjs";

const hello = async (session) => check(await session.exec("echo hello"), "hello\n");

/** How long `open` takes; what it opened must work, and is closed. */
async function opened(open) {
  let session;
  const ms = await timed(async () => (session = await open()));
  await hello(session);
  await session.close();
  return ms;
}

async function openedAndUsed(open) {
  let session;
  const ms = await timed(async () => {
    session = await open();
    await hello(session);
  });
  await session.close();
  return ms;
}

async function closed(open) {
  const session = await open();
  check(await session.exec("sleep 60 & echo hello"), "hello\n");
  return timed(() => session.close());
}

export const boot = {
  title: "boot, one VM after another",
  unit: "ms",
  contenders: ["agent-vm", ...agentOs],
  wanted: { against: agentOs, atMost: 0.05, value: 2 },
  async measure({ open }) {
    // The first call also pays for loading.
    await each(5, () => opened(open), { seconds: 1 });
    return { samples: await each(100, () => opened(open), { seconds: 3 }) };
  },
};

export const bootNowAndThen = {
  title: "boot, one VM each 100 ms",
  unit: "ms",
  contenders: ["agent-vm", ...agentOs],
  async measure({ open }) {
    const once = async () => {
      await sleep(100);
      return opened(open);
    };
    await each(5, once, { seconds: 1 });
    return { samples: await each(30, once, { seconds: 4 }) };
  },
};

export const bootAfterPause = {
  title: "boot after a pause, nothing made ahead",
  unit: "ms",
  contenders: ["agent-vm"],
  async measure({ open }) {
    await opened(open);
    const once = async () => {
      await pauseUntilNothingIsReady();
      return opened(open);
    };
    return { samples: await each(3, once) };
  },
};

export const firstBoot = {
  title: "first boot of a process",
  unit: "ms",
  contenders: ["agent-vm", ...agentOs],
  processes: 5,
  async measure({ open }) {
    return { samples: [await opened(open)] };
  },
};

export const firstCommand = {
  title: "boot and first command",
  unit: "ms",
  contenders: ["agent-vm", "bwrap", ...agentOs],
  wanted: { against: "bwrap", atMost: 0.5 },
  async measure({ open }) {
    await each(5, () => openedAndUsed(open), { seconds: 1 });
    return { samples: await each(100, () => openedAndUsed(open), { seconds: 3 }) };
  },
};

export const firstCommandAfterPause = {
  title: "boot and first command after a pause, nothing made ahead",
  unit: "ms",
  contenders: ["agent-vm", "bwrap"],
  async measure({ open }) {
    await openedAndUsed(open);
    const once = async () => {
      await pauseUntilNothingIsReady();
      return openedAndUsed(open);
    };
    return { samples: await each(3, once) };
  },
};

export const dispose = {
  title: "dispose",
  unit: "ms",
  contenders: ["agent-vm"],
  async measure({ open }) {
    await each(5, () => closed(open));
    return { samples: await each(100, () => closed(open)) };
  },
};

/** The same with many running VMs, all of which must still run at the end. */
function amongMany(title, count, measure) {
  return {
    title: `${title}, ${count.toLocaleString("en")} alive`,
    unit: "ms",
    contenders: ["agent-vm"],
    async measure({ open }) {
      const sessions = await each(count, open);
      const samples = await measure(open, sessions[0]);
      check(descendants(process.pid).length >= count, true);
      for (const session of sessions) await hello(session);
      await Promise.all(sessions.map((session) => session.close()));
      return { samples };
    },
  };
}

export const bootAmongMany = amongMany("boot", 1000, (open) => each(100, () => opened(open), { seconds: 3 }));
export const execAmongMany = amongMany('`exec("echo hello")`', 1000, async (_open, session) => {
  await each(20, () => hello(session));
  return each(300, () => timed(() => hello(session)), { seconds: 3 });
});
export const disposeAmongMany = amongMany("dispose", 1000, (open) => each(100, () => closed(open), { seconds: 3 }));
