"use strict";
// The shell command in a real terminal, provided by tmux.
const { execFileSync } = require("node:child_process");

const { agentVm, program } = require("../fixture/command-line");
const { until } = require("../fixture/promises");

// A new tmux server for each test: a server that is just ending accepts no session.
let servers = 0;
let socket;
const tmux = (...args) => execFileSync("tmux", ["-L", socket, "-f", "/dev/null", ...args], { encoding: "utf8" });
const type = (text) => tmux("send-keys", "-t", "it", text, "Enter");
const screen = () => tmux("capture-pane", "-p", "-t", "it");

beforeEach(() => {
  socket = `agent-vm-test-${process.pid}-${servers++}`;
  const command = `'${process.execPath}' '${program}' shell --hostname boxed; echo "left with $?"; exec cat`;
  tmux("new-session", "-d", "-s", "it", "-x", "100", "-y", "30", command);
});

afterEach(() => {
  tmux("kill-server");
});

test("a shell runs on the caller's terminal, in a VM, and its exit code is passed on", async () => {
  await until(() => screen().includes("user@boxed:~$"));
  type("echo $((6 * 7)) $(id -un); tty");
  await until(() => /^42 user$/m.test(screen()) && screen().includes("/dev/pts/"));
  type("exit 9");
  await until(() => screen().includes("left with 9"));
});

test("the shell has the terminal's size from the start, and follows its changes", async () => {
  await until(() => screen().includes("$"));
  type("stty size");
  await until(() => /^30 100$/m.test(screen()));
  tmux("resize-window", "-t", "it", "-x", "120", "-y", "40");
  await until(() => {
    type("stty size");
    return /^40 120$/m.test(screen());
  });
});

test("the terminal is raw while the shell runs: Ctrl-C reaches the program, and typed text is not shown twice", async () => {
  await until(() => screen().includes("$"));
  // The output shows that the line runs: typed text appears even before the shell starts the line, and a Ctrl-C before
  // that reaches no program.
  type("echo be''gun; sleep 1000");
  await until(() => /^begun$/m.test(screen()));
  tmux("send-keys", "-t", "it", "C-c");
  // What is typed before the shell reads its next line is shown by the terminal, and by the shell again.
  await until(() => /user@[^\n]*\$\s*$/.test(screen().slice(screen().lastIndexOf("begun"))));
  type("echo still here");
  await until(() => /^still here$/m.test(screen()));
  expect(screen().match(/echo still here/g)).toHaveLength(1);
});

test("without a terminal the shell command names the command to use", async () => {
  const { code, stderr } = await agentVm(["shell"]);
  expect(code).toBe(2);
  expect(stderr).toContain("use run");
});
