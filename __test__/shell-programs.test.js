"use strict";
// Programs that people and agents use interactively, each operated by keystrokes and checked on a terminal emulator's
// screen.

const { isDeepStrictEqual } = require("node:util");

const { until } = require("./fixture/promises");
const { screenOf } = require("./fixture/screen");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeEach(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

/** Starts a program, and returns its screen, which `readScreen` agrees with whenever it shows what is expected. */
async function start(command, args = [], { cols = 80, rows = 24, ...options } = {}) {
  const shell = await shells.open({ command, args, cols, rows, screen: true, ...options });
  const screen = screenOf(shell, cols, rows);
  const shows = async (holds) => {
    const lines = await screen.shows(holds);
    await agree(shell, screen);
    return lines;
  };
  return { shell, screen: { ...screen, shows }, type: (keys) => shell.write(keys) };
}

/** Waits until `readScreen` shows what xterm.js does: a program may be drawing. */
async function agree(shell, screen) {
  let [own, other] = [];
  const isSame = async () => {
    const { active } = screen.terminal.buffer;
    other = { lines: await screen.lines(), alternateScreen: screen.isAlternate(), row: active.cursorY, exact: true };
    const { lines, alternateScreen, cursor, exact } = await vm.readScreen(shell.id);
    own = { lines, alternateScreen, row: cursor.row, exact };
    return isDeepStrictEqual(own, other);
  };
  await until(isSame).catch(() => expect(own).toEqual(other));
}

const UP = "\x1b[A";

test("bash: completion, history and editing of the line", async () => {
  await vm.writeFile("/home/user/a-long-name.txt", "its content\n");
  const { shell, screen, type } = await start("bash");
  await screen.shows("user@agent-vm:~$");
  await type("cat a-lo\t");
  await screen.shows("user@agent-vm:~$ cat a-long-name.txt");
  await type("\n");
  await screen.shows("its content");
  await type(`${UP}\x01echo \x1b[F | tr a-z A-Z\n`);
  await screen.shows("CAT A-LONG-NAME.TXT");
  // Deletes characters of more than one byte and of more than one column.
  await type("echo zwölf沙𠀀é\x7f\x7f\x7f丘\n");
  await screen.shows("zwölf丘");
  await type("exit\n");
  expect(await shell.wait()).toBe(0);
});

test("vim: edit and save a file", async () => {
  await vm.writeFile("/home/user/poem.txt", "first\nsecond\nthird\n");
  const { shell, screen, type } = await start("vim", ["-u", "NONE", "-N", "poem.txt"]);
  await screen.shows((lines) => lines[0] === "first" && lines[2] === "third" && lines[3] === "~");
  expect(screen.isAlternate()).toBe(true);
  await type("jA and a half, größer\x1b");
  await screen.shows("second and a half, größer");
  await type("ggdd");
  await screen.shows((lines) => lines[0] === "second and a half, größer");
  await vm.resizeShell(shell.id, 100, 30);
  screen.terminal.resize(100, 30);
  await screen.shows((lines) => lines.length === 30 && lines[28] === "~");
  await type(":wq\n");
  expect(await shell.wait()).toBe(0);
  expect(Buffer.from(await vm.readFile("/home/user/poem.txt")).toString()).toBe("second and a half, größer\nthird\n");
  await screen.shows(() => !screen.isAlternate());
});

test("python3's prompt", async () => {
  const { shell, screen, type } = await start("python3", ["-q"]);
  await screen.shows(">>>");
  await type("def double(x):\n    return 2 * x\n\n");
  await type("double('zwölf ')\n");
  await screen.shows("'zwölf zwölf '");
  await type("import time; time.sleep(1000)\n");
  await screen.shows(/time\.sleep/);
  await type("\x03");
  await screen.shows("KeyboardInterrupt");
  await type("exit(4)\n");
  expect(await shell.wait()).toBe(4);
});

test("node's prompt", async () => {
  const { shell, screen, type } = await start("node");
  await screen.shows(">");
  await type("[1, 2, 3].map((x) => x * 14)\n");
  await screen.shows("[ 14, 28, 42 ]");
  await type("process.stdout.columns + 'x' + process.stdout.rows + ' ' + process.stdin.isTTY\n");
  await screen.shows("'80x24 true'");
  // It reads key by key, so that completion works.
  await type("process.stdo\t");
  await screen.shows(/process\.stdout/);
  await type("\x03");
  await type(".exit\n");
  expect(await shell.wait()).toBe(0);
});

test("less: pages, a search, back to the shell's screen", async () => {
  await vm.exec("seq -f 'line %g' 1 1000 > numbers");
  const { shell, screen, type } = await start("bash");
  await screen.shows("user@agent-vm:~$");
  await type("less numbers\n");
  await screen.shows((lines) => lines[0] === "line 1" && lines[22] === "line 23");
  await type(" ");
  await screen.shows((lines) => lines[0] === "line 24");
  await type("/line 777\n");
  await screen.shows((lines) => lines[0] === "line 777");
  await type("G");
  await screen.shows((lines) => lines[22] === "line 1000");
  await type("q");
  await screen.shows("user@agent-vm:~$ less numbers");
  await shell.close();
});

test.each([
  ["top", /load average/],
  ["htop", /Load average/],
])("%s shows the VM's processes and none of the host's", async (program, head) => {
  await vm.spawn("sleep", ["4321"]);
  const { shell, screen, type } = await start(program, [], { cols: 120, rows: 40 });
  await screen.shows(head);
  const lines = await screen.shows(/ sleep( 4321)?$/);
  // The sleep, the program itself, and the VM's init, which may have helpers: htop shows the name that a process had when it
  // first saw it, which need not be a helper's own yet.
  const named = await vm.exec("grep -lxE 'agent-vm-(files|calls)' /proc/[0-9]*/comm");
  const helpers = named.stdout.match(/\d+/g) ?? [];
  const ofUser = lines.filter((line) => /^ *\d+ user /.test(line)).map((line) => line.trim().split(/ +/)[0]);
  const rows = ofUser.filter((pid) => !helpers.includes(pid));
  const { pid } = (await vm.listShells())[0];
  const [sleep] = await vm.listProcesses();
  expect(rows.sort()).toEqual(["1", String(sleep.pid), String(pid)].sort());
  await type("q");
  expect(await shell.wait()).toBe(0);
});

test("tmux: two panes, a resize, detach and attach again", async () => {
  const { shell, screen, type } = await start("tmux", ["-f", "/dev/null"]);
  await screen.shows(/^\[0\] 0:/);
  // It treats keys that arrive within a millisecond as pasted text, which contains no commands.
  await vm.exec("tmux set -g assume-paste-time 0");
  await type("echo left $((40 + 2))\n");
  await screen.shows("left 42");
  await type("\x02%");
  await type("echo right $((40 + 3)); tput cols\n");
  await screen.shows(/^ *left 42 +│right 43|left 42 +│.*|│right 43/);
  await screen.shows((lines) => lines.some((line) => /│right 43/.test(line)) && lines.some((line) => /│39/.test(line)));
  await vm.resizeShell(shell.id, 120, 40);
  screen.terminal.resize(120, 40);
  await screen.shows((lines) => lines.length === 40 && lines[39].startsWith("[0] 0:"));
  await type("\x02d");
  expect(await shell.wait()).toBe(0);

  // The tmux server is not part of the shell: it has its own session.
  const again = await start("tmux", ["attach"], { cols: 120, rows: 40 });
  await again.screen.shows((lines) => lines.some((line) => /│right 43/.test(line)));
  await again.shell.close();
  const { stdout } = await vm.exec("tmux list-panes | wc -l; tmux kill-server");
  expect(stdout).toBe("2\n");
});

test("an agent's own terminal program: it asks for the size and the cursor, and draws", async () => {
  const script = `
    const { stdin, stdout } = process;
    stdin.setRawMode(true);
    stdout.write("\\x1b[?1049h\\x1b[2J\\x1b[10;5H\\x1b[6n");
    stdin.on("data", (data) => {
      const key = data.toString();
      const at = /\\x1b\\[(\\d+);(\\d+)R/.exec(key);
      if (at) stdout.write(\`the cursor is at \${at[1]}, \${at[2]}\`);
      else if (key === "q") (stdout.write("\\x1b[?1049l"), process.exit(0));
      else stdout.write(\`\\x1b[12;5Hkey \${JSON.stringify(key)}\`);
    });
    process.on("SIGWINCH", () => setImmediate(() => stdout.write(\`\\x1b[14;5Hnow \${stdout.columns} by \${stdout.rows}\`)));`;
  const { shell, screen, type } = await start("node", ["-e", script]);
  await screen.shows("    the cursor is at 10, 5");
  await type("\x1b[15~");
  await screen.shows(String.raw`    key "\u001b[15~"`);
  await vm.resizeShell(shell.id, 120, 40);
  screen.terminal.resize(120, 40);
  await screen.shows("    now 120 by 40");
  await type("q");
  expect(await shell.wait()).toBe(0);
});
