"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { agentVm } = require("../fixture/command-line");
const { until } = require("../fixture/promises");

test("a command's output, errors and exit code are passed on", async () => {
  expect(await agentVm(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])).toEqual({
    code: 7,
    stdout: "out\n",
    stderr: "err\n",
  });
});

test("all of standard input is passed on", async () => {
  const input = "0123456789abcdef".repeat(200_000);
  const { code, stdout } = await agentVm(["run", "--", "cat"], { input });
  expect(code).toBe(0);
  expect(stdout === input).toBe(true);
});

test("signals reach the program", async () => {
  const running = agentVm([
    "run",
    "--",
    "sh",
    "-c",
    "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.05; done",
  ]);
  await until(() => running.printed.stdout === "ready\n");
  running.child.kill("SIGTERM");
  expect(await running).toMatchObject({ code: 4, stdout: "ready\nasked\n" });
});

test("a program whose reader has gone ends as it would outside", async () => {
  const running = agentVm(["run", "--", "yes"]);
  await until(() => running.printed.stdout !== "");
  running.child.stdout.destroy();
  expect((await running).code).toBe(141);
});

test("the exit codes for a signal and a timeout are those of a shell", async () => {
  expect((await agentVm(["run", "--", "sh", "-c", "kill -KILL $$"])).code).toBe(137);
  expect((await agentVm(["run", "--timeout", "0.2", "--", "sleep", "100"])).code).toBe(137);
});

test("the options reach the VM", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-cli-"));
  try {
    fs.writeFileSync(path.join(directory, "file"), "shown\n");
    fs.mkdirSync(path.join(directory, "home"));
    const { stdout, stderr, code } = await agentVm([
      "run",
      `--mount=${directory}:/data`,
      `--home=${directory}/home`,
      "--env=NAME=a value",
      "--limit=disk=10M",
      "--hostname=named",
      "--cwd=/tmp",
      "--",
      "sh",
      "-c",
      'cat /data/file; touch /data/x 2>/dev/null || echo read-only; echo "$NAME"; hostname; pwd; echo $(df -k --output=size /tmp | tail -1); touch ~/kept',
    ]);
    expect({ stdout, stderr, code }).toEqual({
      stdout: "shown\nread-only\na value\nnamed\n/tmp\n10240\n",
      stderr: "",
      code: 0,
    });
    expect(fs.existsSync(path.join(directory, "home/kept"))).toBe(true);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("--network public reaches the internet through the proxy, and no private address", async () => {
  const script = "curl -s -o /dev/null -w %{http_code} http://10.0.0.1/; echo; echo $HTTP_PROXY";
  const { stdout, code } = await agentVm(["run", "--network", "public", "--", "sh", "-c", script]);
  expect({ stdout, code }).toEqual({ stdout: "403\nhttp://127.0.0.1:1080\n", code: 0 });
});

test("--directory adds an empty, writable directory", async () => {
  const script = "cd /workspace && ls -A && touch x && ls -A . /app";
  const args = ["run", "--directory", "/workspace", "--directory=/app", "--cwd=/app", "--", "sh", "-c", script];
  expect(await agentVm(args)).toMatchObject({ code: 0, stdout: ".:\nx\n\n/app:\n" });
});

test("--json prints the result", async () => {
  const { code, stdout } = await agentVm(["run", "--json", "--", "sh", "-c", "cat; exit 5"], { input: "given" });
  expect(code).toBe(5);
  expect(JSON.parse(stdout)).toMatchObject({ exitCode: 5, stdout: "given", reason: "exited", background: [] });
});

test("wrong usage prints the right usage and exits with 2; a program that cannot be run exits with 125", async () => {
  for (const [args, message] of [
    [["run"], "run needs a program"],
    [["run", "ls"], 'the program to run follows "--"'],
    [["run", "--mount", "here", "--", "ls"], "--mount takes HOST:INSIDE"],
    [["run", "--directory", "/usr/x", "--", "ls"], "directories[0] must be a place of its own"],
    [["run", "--limit", "weight=1", "--", "ls"], "--limit takes NAME=VALUE with one of memory, cpus"],
    [["run", "--limit", "pids=many", "--", "ls"], "--limit pids takes a number"],
    [["run", "--env", "=x", "--", "ls"], "--env takes NAME=VALUE"],
    [["run", "--network", "not a host", "--", "ls"], "network"],
    [["run", "--network", "*", "--", "ls"], 'network to "public"'],
    [["run", "--nonsense", "--", "ls"], "--nonsense"],
    [["jump"], "there are doctor, run, shell and cp"],
  ]) {
    const { code, stderr, stdout } = await agentVm(args);
    expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: "" });
    expect(stderr).toContain(message);
  }
  const { code, stderr } = await agentVm(["run", "--", "no-such-program"]);
  expect(code).toBe(125);
  expect(stderr).toContain("no-such-program");
});
