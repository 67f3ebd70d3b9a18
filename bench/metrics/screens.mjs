// How long a shell's screen takes to read.
import { check, each } from "./measure.mjs";

export const screenRead = {
  title: "screen read of a full vim, 200 by 50",
  unit: "ms",
  contenders: ["agent-vm"],
  wanted: { value: 1 },
  async measure({ open }) {
    const session = await open();
    const { vm } = session;
    await vm.exec("for i in $(seq 60); do printf 'line %03d %s\\n' $i $(seq -s, 1000 1040); done > full.txt");
    const options = { command: "vim", args: ["-u", "NONE", "-N", "full.txt"], cols: 200, rows: 50, screen: true };
    const { shellId } = await vm.openShell(options);
    await vm.waitForScreen(shellId, /^line 024 [^]*"full.txt"/m, { timeout: 10_000 });
    const read = async () => {
      const begun = performance.now();
      const { lines } = await vm.readScreen(shellId);
      const ms = performance.now() - begun;
      check(lines[0].slice(0, 13), "line 001 1000");
      return ms;
    };
    await each(50, read);
    const samples = await each(1000, read, { seconds: 3 });
    await session.close();
    return { samples };
  },
};
