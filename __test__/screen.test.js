"use strict";
// The screens of shells: `readScreen` and `waitForScreen`.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { Terminal } = require("@xterm/headless");

const { until } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** Opens a shell whose program prints `text`, as the C language writes it, and then runs `rest`. */
function printing(text, options = {}, rest = "read end") {
  return vm.openShell({ command: "bash", args: ["-c", `printf "$0"; ${rest}`, text], screen: true, ...options });
}

/** What xterm.js shows after that output. */
async function inXterm(output, { cols = 80, rows = 24 } = {}) {
  const terminal = new Terminal({ cols, rows, scrollback: 0, allowProposedApi: true });
  await new Promise((resolve) => terminal.write(output, resolve));
  const { active } = terminal.buffer;
  return {
    lines: Array.from({ length: rows }, (_, row) => active.getLine(row).translateToString(true).trimEnd()),
    row: active.cursorY,
    // Past the last column while the next character will begin a line; readScreen shows the cursor where people see it.
    col: Math.min(active.cursorX, cols - 1),
  };
}

test("a screen has the text, the cursor, the title and the rest of what a person sees", async () => {
  const shell = await printing("\\033]2;a title\\007\\033[31mred\\033[0m  \\n  two\\033[?25l", { cols: 20, rows: 3 });
  expect(await vm.waitForScreen(shell.shellId, "two")).toEqual({
    rows: 3,
    cols: 20,
    lines: ["red", "  two", ""],
    cursor: { row: 1, col: 5, visible: false },
    title: "a title",
    alternateScreen: false,
    exact: true,
    nextSeq: 39,
    resizes: 0,
    exited: null,
  });
  await shell.close();
});

test.each([
  ["plain text that wraps", "0123456789".repeat(9)],
  ["wide characters at the edge", `\\033[79G\u6f22\u5b57\u6f22 ${"\uff01".repeat(90)}`],
  ["combining characters", "e\u0301a\u0308\u0327 \u0e01\u0e33 \u05e9\u05c1"],
  ["scroll regions", "\\033[2;5r\\033[5;1H1\\n2\\n3\\n4\\n5\\033[2;1H\\033M\\033[Mx\\033[3Ly\\033[2Sz\\033[1T\\033[r"],
  [
    "inserted and deleted characters",
    "abcdefgh\\033[3G\\033[2@12\\033[2P\\033[4hINS\\033[4l\\033[3X\\033[10Gab\\033[5b",
  ],
  ["tab stops", "\\t1\\t2\\033[3g\\r\\tend\\033[5G\\033H\\r\\tfive\\033[Z"],
  ["erasing", "one\\ntwo\\nthree\\033[2;2H\\033[1J\\033[K\\033[3;3H\\033[1K"],
  [
    "margins and the origin",
    "\\033[3;6r\\033[4;2Ha\\033[9Ab\\033[9Bc\\033[2Fe\\033[?6h\\033[2;2Hg\\033[?6l\\033[2;2H\\033[9Bf",
  ],
  ["line drawing", "\\033(0lqqk\\nx  x\\nmqqj\\033(B\\033)0\\016a\\017a"],
  [
    "the alternate screen and a saved cursor",
    "a\\0337\\033[?1049hthere\\033[?1049lb\\033[9;9H\\0338c\\033[?47hd\\033[?47le",
  ],
  ["no wrapping", `\\033[?7l${"x".repeat(90)}yz\\033[?7h`],
  [
    "strings that are not shown",
    "a\\033P1$qm\\033\\\\b\\033_app\\033\\\\c\\033]52;c;YQ==\\007d\\033]8;;http://x\\007e\\033]8;;\\007",
  ],
])("as in xterm.js: %s", async (_, text) => {
  const shell = await printing(`${text}\\033]2;done\\007`, {}, "stty -echo; read end");
  await until(async () => (await vm.readScreen(shell.shellId)).title === "done");
  const { lines, cursor } = await vm.readScreen(shell.shellId);
  const { data } = await vm.readShell(shell.shellId);
  expect({ lines, row: cursor.row, col: cursor.col }).toEqual(await inXterm(data));
  await shell.close();
});

describe("as in tmux", () => {
  let directory;
  let tmux;
  beforeAll(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-test-tmux-"));
    fs.writeFileSync(`${directory}/tmux.conf`, "set -g status off\nset -g escape-time 0\n");
    tmux = (...args) =>
      execFileSync("tmux", ["-S", `${directory}/socket`, "-f", `${directory}/tmux.conf`, ...args], {
        encoding: "utf8",
        env: { ...process.env, LC_ALL: "C.UTF-8" },
      });
  });
  afterEach(() => tmux("kill-server"));
  afterAll(() => fs.rmSync(directory, { recursive: true }));

  /** The screen when nothing more is being drawn, and the output that made it. */
  async function still(shellId) {
    let [screen, output] = [];
    await until(async () => {
      screen = await vm.readScreen(shellId);
      output = await vm.readShell(shellId);
      return screen.nextSeq === output.nextSeq;
    });
    return { screen, data: Buffer.from(output.data) };
  }

  test.each([
    ["vim", "vim", ["-u", "NONE", "-N", "text"], /^~$/m, "jA, 沙\x1b"],
    ["less", "less", ["text"], /e\u0301/, " /777\n"],
    ["htop", "htop", [], /Load average/, "\x1b[B"],
    ["node's prompt", "node", [], /^>$/m, "'沙漠'.repeat(50)\n"],
  ])("%s, with a resize", async (_, command, args, drawn, keys) => {
    const lines = [
      "wide 漢字 and ！",
      "combined e\u0301 a\u0308\u0327",
      "",
      ...Array.from({ length: 9 }, (each, n) => `\t${n}77`),
    ];
    await vm.writeFile("/home/user/text", lines.join("\n"));
    const shell = await vm.openShell({ command, args, screen: true });
    await vm.waitForScreen(shell.shellId, drawn);
    await vm.writeShell(shell.shellId, keys);
    await vm.waitForIdle(shell.shellId);
    const before = await still(shell.shellId);
    await vm.resizeShell(shell.shellId, 100, 30);
    await until(async () => (await vm.readShell(shell.shellId)).nextSeq > before.screen.nextSeq);
    await vm.waitForIdle(shell.shellId);
    const after = await still(shell.shellId);
    await shell.close();

    // A terminal in raw mode passes the bytes on as they are. The second part is printed after the resize.
    fs.writeFileSync(`${directory}/before`, before.data);
    fs.writeFileSync(`${directory}/after`, after.data.subarray(before.data.length));
    const play = `cd ${directory}; stty raw -echo; cat before; read go; cat after; exec sleep 1000`;
    tmux("new-session", "-d", "-x", "80", "-y", "24", play);
    const shown = () =>
      tmux("capture-pane", "-p")
        .split("\n")
        .slice(0, -1)
        .map((line) => line.trimEnd());
    const shows = async (expected) => {
      let seen;
      await until(async () => JSON.stringify((seen = shown())) === JSON.stringify(expected)).catch(() => {});
      expect(seen).toEqual(expected);
    };
    await shows(before.screen.lines);
    tmux("resize-window", "-x", "100", "-y", "30");
    tmux("send-keys", "C-j");
    await shows(after.screen.lines);
  });
});

test("a screen that is built later replays output and sizes in their order", async () => {
  const script = `
    for row in 1 2 3 4 5 6 7 8; do echo "line $row has as many as fifty characters or some more"; done
    read first; printf '\\033[2;3r\\033[3;1H'; echo one; echo two; stty size; read second; exit 3`;
  const open = (screen) => vm.openShell({ command: "bash", args: ["-c", script], screen });
  const shells = [await open(true), await open(false)];
  for (const { shellId } of shells) {
    const printed = async (text) => until(async () => Buffer.from((await vm.readShell(shellId)).data).includes(text));
    await printed("line 8");
    await vm.resizeShell(shellId, 20, 10);
    await vm.resizeShell(shellId, 30, 6);
    await vm.writeShell(shellId, "go\n");
    await printed("6 30");
    await vm.resizeShell(shellId, 60, 12);
  }
  const screens = await Promise.all(shells.map((shell) => vm.readScreen(shell.shellId)));
  expect(screens[0]).toMatchObject({ rows: 12, cols: 60, exact: true });
  expect(screens[1]).toEqual(screens[0]);
  for (const shell of shells) {
    await vm.writeShell(shell.shellId, "end\n");
    await shell.exited;
    expect(await vm.readScreen(shell.shellId)).toMatchObject({ exact: true, exited: { exitCode: 3 } });
  }
});

test("a screen is not exact if output was dropped before it was built", async () => {
  const small = await bootForFile({ limits: { replayBytes: 4096 } });
  const shell = await small.openShell({ command: "sh", args: ["-c", "seq 5000; read end"] });
  await until(async () => Buffer.from((await small.readShell(shell.shellId)).data).includes("5000"));
  const { exact, lines } = await small.waitForScreen(shell.shellId, "5000");
  expect([exact, lines.slice(0, 2)]).toEqual([false, ["4978", "4979"]]);
  const kept = await small.openShell({ command: "sh", args: ["-c", "seq 5000; read end"], screen: true });
  expect((await small.waitForScreen(kept.shellId, "5000")).exact).toBe(true);
});

test("waitForScreen ends with a match, a timeout, an abort and the end of the shell", async () => {
  const shell = await printing("ready", {}, "read answer; printf later; exit 4");
  const shown = async (pattern, options) => (await vm.waitForScreen(shell.shellId, pattern, options)).lines[0];
  expect(await shown(/^re.dy$/m)).toBe("ready");
  const code = (promise) =>
    promise.then(
      () => null,
      (error) => error.code,
    );
  expect(await code(shown("never", { timeout: 20 }))).toBe("ETIMEDOUT");
  const reason = new Error("enough");
  await expect(shown("never", { signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
    code: "ABORTED",
    cause: reason,
  });
  const controller = new AbortController();
  const aborted = code(shown("never", { signal: controller.signal }));
  const read = code(vm.readScreen(shell.shellId, { after: 1e9, signal: controller.signal }));
  const [late, ended] = [shown(/later/g), code(shown("never"))];
  controller.abort();
  expect([await aborted, await read]).toEqual(["ABORTED", "ABORTED"]);
  await vm.writeShell(shell.shellId, "\n");
  await late;
  expect(await ended).toBe("OUTPUT_ENDED");
  expect(await shown("later")).toBe("ready");
});

test("a wait for a screen looks again after a resize without output", async () => {
  const shell = await printing("abcdef", { cols: 3, rows: 2 });
  await vm.waitForScreen(shell.shellId, "def");
  const waiting = vm.waitForScreen(shell.shellId, /^abcdef$/m);
  const { nextSeq: after, resizes } = await vm.readScreen(shell.shellId);
  const reading = vm.readScreen(shell.shellId, { after, resizes });
  await shell.resize(10, 2);
  expect(await waiting).toMatchObject({ cols: 10, lines: ["abcdef", ""], resizes: 1, nextSeq: after });
  expect(await reading).toMatchObject({ cols: 10, resizes: 1 });
  // One that was before is not waited for.
  expect((await vm.readScreen(shell.shellId, { resizes })).cols).toBe(10);
  await shell.close();
});

test("many reads of a full screen leave turns of the event loop to the rest of the server", async () => {
  const other = await bootForFile();
  const fill =
    "s=$(printf '\\U1d11e%.0s' {1..256}); for row in {1..256}; do printf %s $s; done; printf '\\e]2;full\\a'; read end";
  const shell = await vm.openShell({ command: "bash", args: ["-c", fill], cols: 256, rows: 256, screen: true });
  await until(async () => (await vm.readScreen(shell.shellId)).title === "full");
  const settled = [];
  const turns = new Set();
  let turn = 0;
  const next = () => {
    turn++;
    immediate = setImmediate(next);
  };
  let immediate = setImmediate(next);
  const reads = Array.from({ length: 64 }, async () => {
    const { lines } = await vm.readScreen(shell.shellId);
    turns.add(turn);
    settled.push("read");
    return [...lines.join("")].length;
  });
  const stat = other.stat("/tmp").then(() => settled.push("stat"));
  const timer = new Promise((resolve) => setTimeout(resolve, 1)).then(() => settled.push("timer"));
  const cells = await Promise.all(reads);
  await Promise.all([stat, timer]);
  clearImmediate(immediate);
  expect(new Set(cells)).toEqual(new Set([65_536]));
  expect(turns.size).toBe(64);
  expect(settled.indexOf("stat")).toBeLessThan(32);
  expect(settled.indexOf("timer")).toBeLessThan(32);
  await shell.close();
});

test("a read that is aborted leaves its place to others", async () => {
  const shell = await printing("ready");
  await vm.waitForScreen(shell.shellId, "ready");
  const controller = new AbortController();
  const aborted = Array.from({ length: 16 }, () => vm.readScreen(shell.shellId, { signal: controller.signal }));
  controller.abort();
  await Promise.allSettled(aborted);
  expect((await vm.readScreen(shell.shellId)).lines[0]).toBe("ready");
  await shell.close();
});

test("a screen's arguments and bounds are refused clearly", async () => {
  const refused = (promise) =>
    promise.then(
      () => null,
      ({ code, message }) => `${code}: ${message}`,
    );
  const none = /^LIMIT_EXCEEDED: A terminal of \d+ columns and \d+ rows has no screen/;
  expect(await refused(vm.readScreen("shell-999"))).toBe("SHELL_NOT_FOUND: Shell not found: shell-999");
  expect(await refused(vm.waitForScreen("shell-999", 7))).toMatch(
    /^INVALID_ARGUMENT: pattern must be a string or a RegExp, not 7/,
  );
  expect(await refused(vm.readScreen("shell-999", { before: 1 }))).toMatch(
    /^INVALID_ARGUMENT: options has no member "before"/,
  );
  expect(await refused(vm.openShell({ screen: 1 }))).toMatch(/^INVALID_ARGUMENT: screen must be true or false, not 1/);
  expect(await refused(vm.openShell({ screen: true, cols: 1 }))).toMatch(none);
  expect(await refused(vm.openShell({ screen: true, cols: 300, rows: 300 }))).toMatch(none);
  const shell = await printing("text");
  await vm.waitForScreen(shell.shellId, "text");
  expect(await refused(shell.resize(1025, 24))).toMatch(none);
  expect(await vm.readScreen(shell.shellId)).toMatchObject({ cols: 80, rows: 24 });
  // Without `screen: true` a terminal may have any size, and then has no screen.
  const large = await vm.openShell({ command: "cat" });
  await vm.readScreen(large.shellId);
  await large.resize(2000, 24);
  expect(await refused(vm.readScreen(large.shellId))).toMatch(none);
  await large.resize(80, 24);
  expect(await vm.readScreen(large.shellId)).toMatchObject({ cols: 80, exact: false });
  await Promise.all([shell.close(), large.close()]);
});

test("the screens of a VM are bounded together, and those of shells that have exited make room", async () => {
  const size = { command: "sh", cols: 256, rows: 256, screen: true };
  const exits = { ...size, args: ["-c", "echo it was; exit"] };
  const shells = await Promise.all([size, size, size, exits].map((options) => vm.openShell(options)));
  await shells[3].exited;
  shells.push(await vm.openShell(size));
  await expect(vm.openShell(size)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  await expect(vm.readScreen(shells[3].shellId)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  await shells[0].close();
  expect((await vm.readScreen(shells[3].shellId)).lines[0]).toBe("it was");
  await Promise.all(shells.map((shell) => shell.close()));
  expect((await vm.listShells()).filter(({ running }) => running)).toEqual([]);
});
