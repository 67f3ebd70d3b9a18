// Terminals: their throughput, and the round trip of a keystroke.
import { check, each } from "./measure.mjs";

const MEBIBYTES_64 = 64 * 1024 * 1024;

/**
 * The megabytes a second that a terminal brings: the `script` makes it print `total` bytes, of which it makes `wanted`.
 */
async function throughput(session, script, total, wanted = total) {
  let bytes = 0;
  let arrived;
  const all = new Promise((resolve) => (arrived = resolve));
  const begun = performance.now();
  // The program waits for a signal to end, because node-pty loses what a program writes right before its end.
  const { write, exited } = await session.openTerminal("sh", ["-c", `${script}; read end`], (data) => {
    bytes += data.length;
    if (bytes >= wanted) arrived();
  });
  await all;
  const seconds = (performance.now() - begun) / 1000;
  check(bytes, wanted);
  await write("\n");
  await exited;
  return total / 1e6 / seconds;
}

export const terminal = {
  title: "64 MiB through a terminal",
  unit: "MB/s",
  contenders: ["agent-vm", "node-pty"],
  wanted: { against: "node-pty", atLeast: 1 },
  async measure({ open }) {
    const session = await open();
    // Lines of 64 bytes, which the terminal makes 65 bytes long: it adds a carriage return before each newline.
    const lines = MEBIBYTES_64 / 64;
    const script = `yes '${"0123456789abcdef".repeat(4).slice(1)}' | head -n ${lines}`;
    const samples = [await throughput(session, script, MEBIBYTES_64, lines * 65)];
    await session.close();
    return { samples };
  },
};

export const terminalRaw = {
  title: "64 MiB in large blocks through a terminal, raw mode",
  unit: "MB/s",
  contenders: ["agent-vm", "node-pty"],
  wanted: { against: "node-pty", atLeast: 1 },
  async measure({ open }) {
    const session = await open();
    const script = `stty raw -echo; head -c ${MEBIBYTES_64} /dev/zero`;
    const samples = await each(5, () => throughput(session, script, MEBIBYTES_64), { seconds: 4 });
    await session.close();
    return { samples };
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
