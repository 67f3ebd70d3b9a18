// Terminals: their throughput, and the round trip of a keystroke.
import { check, each } from "./measure.mjs";

export const terminal = {
  title: "64 MiB through a terminal",
  unit: "MB/s",
  contenders: ["agent-vm", "node-pty"],
  wanted: { against: "node-pty", atLeast: 1 },
  async measure({ open }) {
    const session = await open();
    // Lines of 64 bytes, which the terminal makes 65 bytes long: it adds a carriage return before each newline.
    const lines = (64 * 1024 * 1024) / 64;
    const wanted = lines * 65;
    let bytes = 0;
    let arrived;
    const all = new Promise((resolve) => (arrived = resolve));
    const begun = performance.now();
    // The program waits for a signal to end, because node-pty loses what a program writes right before its end.
    const script = `yes '${"0123456789abcdef".repeat(4).slice(1)}' | head -n ${lines}; read end`;
    const { write } = await session.openTerminal("sh", ["-c", script], (data) => {
      bytes += data.length;
      if (bytes >= wanted) arrived();
    });
    await all;
    const seconds = (performance.now() - begun) / 1000;
    await write("\n");
    check(bytes, wanted);
    await session.close();
    return { samples: [(lines * 64) / 1e6 / seconds] };
  },
};

export const keystroke = {
  title: "keystroke and its echo by `cat`, raw mode",
  unit: "ms",
  contenders: ["agent-vm", "node-pty"],
  wanted: { against: "node-pty", atMost: 1 },
  async measure({ open }) {
    const session = await open();
    let take;
    const heard = () => new Promise((resolve) => (take = resolve));
    const ready = heard();
    const script = "stty raw -echo; echo; exec cat";
    const { write } = await session.openTerminal("sh", ["-c", script], (data) => take(data));
    await ready;
    const press = async (key) => {
      const echo = heard();
      const begun = performance.now();
      await write(key);
      const data = await echo;
      const ms = performance.now() - begun;
      check(data.toString(), key);
      return ms;
    };
    await each(50, () => press("w"));
    const samples = await each(2000, () => press("x"), { seconds: 3 });
    await session.close();
    return { samples };
  },
};
