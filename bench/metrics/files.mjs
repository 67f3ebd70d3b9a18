// Files: how long it takes to write and to read a large one.
import { randomBytes } from "node:crypto";
import { check, each, timed } from "./measure.mjs";

export const files = {
  title: "64 MiB written to a file and read back",
  unit: "ms",
  contenders: ["agent-vm", "fs.promises"],
  wanted: { against: "fs.promises", atMost: 2 },
  async measure({ open }) {
    const session = await open();
    const content = randomBytes(64 * 1024 * 1024);
    const there = async () => {
      await session.writeFile("bench", content);
      return session.readFile("bench");
    };
    check(Buffer.compare(await there(), content), 0);
    const before = process.resourceUsage().maxRSS;
    const samples = await each(15, () => timed(there), { seconds: 4 });
    const more = (process.resourceUsage().maxRSS - before) / 1024;
    await session.close();
    return { samples, extra: { "peak MiB more": more } };
  },
};
