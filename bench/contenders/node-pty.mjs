import pty from "node-pty";

export async function open() {
  return {
    async openTerminal(file, args, take) {
      // Without an encoding it returns bytes, as agent-vm does, and need not decode.
      const terminal = pty.spawn(file, args, { encoding: null, cols: 80, rows: 24 });
      terminal.onData(take);
      const exited = new Promise((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)));
      return { write: async (data) => terminal.write(data), exited };
    },
    async close() {},
  };
}
