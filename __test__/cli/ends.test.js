"use strict";
// How the command ends if its terminal, its reader or its disk fails: together with its VM, and without a stack trace.

const { execFileSync, spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { agentVm, program } = require("../fixture/command-line");
const { temporaryDirectory } = require("../fixture/directory");
const { until } = require("../fixture/promises");

/** A number of seconds to sleep that no other process of the machine uses, so that the process can be found. */
let next = 1_000_000 + (process.pid % 1_000_000) * 100;
const isRunning = (mark) =>
  fs.readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return fs.readFileSync(`/proc/${name}/cmdline`, "latin1").includes(mark);
    } catch {
      return false;
    }
  });

const deaf = (mark) => `trap '' HUP TERM INT; echo ready; sleep ${mark}; sleep ${mark}`;

/** Runs the command in a separate terminal, which `close` closes; `code()` is its exit code once it has ended. */
function inTerminal(args) {
  const at = temporaryDirectory();
  const status = path.join(at, "status");
  const socket = `agent-vm-ends-${process.pid}-${next++}`;
  const quoted = [process.execPath, program, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  // The terminal's shell outlives the command, to report how it ended.
  const script = path.join(at, "script.sh");
  fs.writeFileSync(script, `trap '' HUP\n${quoted}\necho $? > ${status}.new; mv ${status}.new ${status}\n`);
  const tmux = (...words) => execFileSync("tmux", ["-L", socket, "-f", "/dev/null", ...words], { encoding: "utf8" });
  tmux("new-session", "-d", "-s", "it", "-x", "100", "-y", "30", `sh ${script}`);
  return {
    screen: () => tmux("capture-pane", "-p", "-t", "it"),
    type: (text) => tmux("send-keys", "-t", "it", text, "Enter"),
    close: () => tmux("kill-server"),
    code: () => until(() => fs.existsSync(status) && Number(fs.readFileSync(status, "utf8"))),
  };
}

test("a closed terminal ends a program that ignores every signal, and its VM", async () => {
  const mark = next++;
  const terminal = inTerminal(["run", "--", "sh", "-c", deaf(mark)]);
  await until(() => terminal.screen().includes("ready"));
  expect(isRunning(mark)).toBe(true);
  terminal.close();
  expect(await terminal.code()).toBe(129);
  await until(() => !isRunning(mark));
});

test("a closed terminal ends a shell whose programs ignore every signal, and its VM", async () => {
  const mark = next++;
  const terminal = inTerminal(["shell", "--", "sh", "-c", deaf(mark)]);
  await until(() => terminal.screen().includes("ready"));
  expect(isRunning(mark)).toBe(true);
  terminal.close();
  expect(await terminal.code()).toBe(129);
  await until(() => !isRunning(mark));
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
])("the first %s is the program's, the second ends the VM", async (signal, code) => {
  const mark = next++;
  const script = `trap 'echo asked' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done; sleep ${mark}`;
  const running = agentVm(["run", "--", "sh", "-c", script]);
  await until(() => running.printed.stdout === "ready\n");
  running.child.kill(signal);
  await until(() => running.printed.stdout.includes("asked"));
  running.child.kill(signal);
  expect(await running).toMatchObject({ code });
  await until(() => !isRunning(mark));
});

test("two signals at once, which npm makes of one, leave the program a second", async () => {
  const script = "trap 'sleep 0.1; echo saved; exit 4' INT; echo ready; while :; do sleep 0.05; done";
  const running = agentVm(["run", "--", "sh", "-c", script]);
  await until(() => running.printed.stdout === "ready\n");
  // Without a pause: on a busy machine any pause could exceed the time that counts as at once.
  for (let count = 0; count < 2; count++) running.child.kill("SIGINT");
  expect(await running).toMatchObject({ code: 4, stdout: expect.stringContaining("saved") });
});

test("a program that ends by itself when its terminal is closed has the time for it", async () => {
  const at = temporaryDirectory();
  const script = "trap 'echo saved > /kept/file; exit 4' HUP; echo ready; while :; do sleep 0.05; done";
  const running = agentVm(["run", `--mount=${at}:/kept:rw`, "--", "sh", "-c", script]);
  await until(() => running.printed.stdout === "ready\n");
  running.child.kill("SIGHUP");
  expect(await running).toMatchObject({ code: 129 });
  expect(fs.readFileSync(path.join(at, "file"), "utf8")).toBe("saved\n");
});

/** Runs a shell's command line that contains the command; `code` is the command's exit code. */
async function piped(tail, ...args) {
  const script = `{ "$@"; echo "code $?" >&2; } ${tail}`;
  const child = spawn("bash", ["-c", script, "bash", process.execPath, program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (data) => (stderr += data));
  child.stdout.resume();
  await new Promise((resolve) => {
    child.on("close", resolve);
  });
  const [, said, code] = /^([\s\S]*)code (\d+)\n$/.exec(stderr);
  return { said, code: Number(code) };
}

const SOURCES = [
  ["run", ["run", "--", "sh", "-c", "head -c 3000000 /dev/zero; echo end"]],
  ["run --json", ["run", "--json", "--", "head", "-c", "3000000", "/dev/zero"]],
  ["doctor", ["doctor"]],
  ["doctor --json", ["doctor", "--json"]],
  ["help", ["--help"]],
  ["version", ["--version"]],
];

test.each(SOURCES)("%s whose reader has gone ends as a shell reports SIGPIPE, silently", async (_, args) => {
  // The reader has closed before the first byte.
  expect(await piped("| { exec <&-; sleep 0.01; }", ...args)).toEqual({ said: "", code: 141 });
});

test.each(SOURCES)("%s on a full disk says so in one line", async (_, args) => {
  const { said, code } = await piped("> /dev/full", ...args);
  expect(code).toBe(125);
  expect(said).toMatch(/^agent-vm: standard output: ENOSPC[^\n]*\n$/);
});

test("a full disk for standard error loses that output and ends the program", async () => {
  const script = '"$@" 2> /dev/full; echo "code $?"';
  const args = [process.execPath, program, "run", "--", "sh", "-c", "echo x >&2; sleep 4242"];
  expect(execFileSync("bash", ["-c", script, "bash", ...args], { encoding: "utf8" })).toBe("code 125\n");
  expect(execFileSync("bash", ["-c", script, "bash", process.execPath, program, "jump"], { encoding: "utf8" })).toBe(
    "code 2\n",
  );
});

test("--json escapes control characters for the terminal and parses to the same text", async () => {
  const text = "\u001b[31m \u007f \u009b \u0085 \u2028 \u2029 é 😀 \ufffd\n";
  const { stdout } = await agentVm(["run", "--json", "--", "cat"], { input: text });
  expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\u2028\u2029]/u);
  expect(JSON.parse(stdout).stdout).toBe(text);
  const background = await agentVm(["run", "--json", "--", "sh", "-c", "exec -a x sleep 1; true"]);
  expect(background.stdout).not.toMatch(/(?!\n)\p{Cc}/u);
  const { stderr, code } = await agentVm(["run", "--", "no\u009bsuch\u001b[31m"]);
  expect(code).toBe(125);
  expect(stderr).not.toMatch(/(?!\n)\p{Cc}/u);
});
