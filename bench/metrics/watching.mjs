// Watching: how soon a new file is known.
import { each, timed } from "./measure.mjs";

export const watchLatency = {
  title: "a new file is made and reported",
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-exec", "fs.promises"],
  wanted: { against: "agent-vm-exec", atMost: 0.5 },
  async measure({ open }) {
    const session = await open();
    const { appeared } = await session.watch();
    let number = 0;
    const once = async () => {
      const name = `file-${number++}`;
      await Promise.all([appeared(name), session.writeFile(name, new Uint8Array(1))]);
    };
    const samples = await each(300, () => timed(once), { seconds: 4 });
    await session.close();
    return { samples };
  },
};
