"use strict";

const defaults = require("../defaults");
const { namedVm } = require("./named-vm");
const { usage, withoutUndefined } = require("./options");
const { write } = require("./output");
const { followSignals } = require("./signals");

/**
 * Runs a shell in its own VM on our terminal; resolves to the shell's exit code.
 * @param {import("./options").Values} options
 * @param {string[]} words
 */
async function shell(options, [command, ...args]) {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) {
    throw usage("shell needs a terminal; to run a program without one, use run");
  }
  const vm = await namedVm(options);
  const size = () => ({ cols: stdout.columns || defaults.terminal.cols, rows: stdout.rows || defaults.terminal.rows });
  try {
    /** @type {(error: unknown) => void} */
    let fail = () => {};
    /** @type {Promise<never>} */
    const failed = new Promise((_, reject) => {
      fail = reject;
    });
    const gone = () => fail(Object.assign(new Error("the terminal is gone"), { code: "READER_GONE" }));
    vm.on("shellData", ({ data }) => {
      try {
        if (!write(1, data)) gone();
      } catch (error) {
        fail(error);
      }
    });
    const { shellId } = await vm.openShell(
      withoutUndefined({ command, args, cwd: options.cwd, env: terminal(), ...size() }),
    );
    // In raw mode the shell's terminal, not ours, handles what is typed (echo, line editing, Ctrl-C).
    stdin.setRawMode(true);
    stdin.on("error", gone).on("end", gone);
    stdin.on("data", (data) => vm.writeShell(shellId, data).catch(() => {}));
    stdout.on("resize", () => vm.resizeShell(shellId, size().cols, size().rows).catch(() => {}));
    const signals = followSignals(["SIGHUP", "SIGINT", "SIGTERM"], () => vm.closeShell(shellId).catch(() => {}));
    return signals.exitCode(await Promise.race([failed, vm.waitShell(shellId), signals.ended]));
  } finally {
    try {
      stdin.setRawMode(false);
    } catch {
      // The terminal has been closed, so its mode need not be restored.
    }
    stdin.pause();
    await vm.dispose();
  }
}

/** The type of our terminal (TERM), for the programs in the shell. */
function terminal() {
  const { TERM, COLORTERM } = process.env;
  return withoutUndefined({ TERM, COLORTERM });
}

module.exports = { shell };
