// A root of one's own, and programs that run as root in it, beside a VM without options.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check, each, timed } from "./measure.mjs";

const hello = async (session) => check(await session.exec("echo hello"), "hello\n");

async function execs(open, options) {
  const session = await open(options);
  await each(20, () => hello(session), { seconds: 1 });
  const samples = await each(300, () => timed(() => hello(session)), { seconds: 3 });
  await session.close();
  return { samples };
}

export const rootExec = {
  title: '`exec("echo hello")` as root, with a single id',
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-user"],
  wanted: { against: "agent-vm-user", atMost: 1.1 },
  measure: ({ open }) => execs(open, { user: "root", ids: "single" }),
};

export const rootExecRange = {
  title: '`exec("echo hello")` as root, with a range of ids',
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-user"],
  wanted: { against: "agent-vm-user", atMost: 1.1 },
  measure: ({ open }) => execs(open, { user: "root", ids: "range" }),
};

export const bootRootfs = {
  title: "boot with a `rootfs`",
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-user"],
  wanted: { against: "agent-vm-user", atMost: 1.2 },
  async measure({ open }) {
    const rootfs = mkdtempSync(join(tmpdir(), "agent-vm-bench-root-"));
    try {
      mkdirSync(join(rootfs, "bin"));
      copyFileSync("/bin/busybox", join(rootfs, "bin/sh"));
      const once = async () => {
        let session;
        const ms = await timed(async () => (session = await open({ rootfs })));
        await hello(session);
        await session.close();
        return ms;
      };
      await each(5, once, { seconds: 1 });
      return { samples: await each(100, once, { seconds: 3 }) };
    } finally {
      rmSync(rootfs, { recursive: true });
    }
  },
};
