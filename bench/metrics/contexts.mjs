// Contexts: a command of a shell that keeps its state, beside one that starts a shell.
import { check, each, timed } from "./measure.mjs";

export const contextExec = {
  title: '`exec("cd /tmp; echo hello")` in a context, one at a time',
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-exec", "child_process"],
  wanted: { against: "agent-vm-exec", atMost: 0.3 },
  async measure({ open }) {
    const session = await open();
    // A contender without contexts starts a shell for each command.
    const { exec } = (await session.openContext?.()) ?? session;
    const hello = async () => check(await exec("cd /tmp; echo hello"), "hello\n");
    await each(20, hello, { seconds: 1 });
    const samples = await each(300, () => timed(hello), { seconds: 3 });
    await session.close();
    return { samples };
  },
};
