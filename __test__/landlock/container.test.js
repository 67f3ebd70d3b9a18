"use strict";
const { execFile } = require("node:child_process");
const path = require("node:path");
const { promisify } = require("node:util");

const script = path.join(__dirname, "../fixture/container.py");
const root = path.join(__dirname, "../..");

/** The JSON that a server prints in a container with that profile. */
async function inContainer(profile, source) {
  const whole = `
    const { AgentVm } = require(${JSON.stringify(root)});
    const failure = (promise) => promise.then(() => "worked", ({ code, message }) => ({ code, message }));
    (async () => { ${source} })().then((value) => console.log(JSON.stringify(value)));`;
  const { stdout } = await promisify(execFile)("/usr/bin/python3", [script, profile, process.execPath, "-e", whole]);
  return JSON.parse(stdout);
}

test("where a container forbids namespaces, they are refused with a remedy, doctor names landlock, and that works", async () => {
  const found = await inContainer(
    "docker",
    `
    const namespaces = await failure(AgentVm.create());
    const { level, checks } = await AgentVm.doctor();
    const vm = await AgentVm.create({ isolation: "landlock" });
    const { stdout } = await vm.exec("echo hello > file; chmod 600 file; stat -c %a file; cat file; node -p 40+2");
    const home = (await vm.exec("pwd")).stdout.trim();
    const file = Buffer.from(await vm.readFile(home + "/file")).toString();
    const secret = await failure(vm.readFile("/etc/shadow"));
    const kill = (await vm.exec("kill -9 " + process.pid)).exitCode;
    const { pid } = await vm.spawn("sh", ["-c", "sleep 1000 & sleep 1000"]);
    await vm.killProcess(pid);
    const left = await vm.allProcesses();
    const timeout = (await vm.exec("sleep 1000", { timeout: 200 })).timedOut;
    const { shellId } = await vm.openShell();
    await vm.writeShell(shellId, "exit 5\\n");
    const shell = await vm.waitShell(shellId);
    await vm.dispose();
    return { namespaces, level, checks, stdout, file, secret: secret.code, kill, left, timeout, shell };`,
  );
  expect(found).toMatchObject({
    namespaces: { code: "ISOLATION_UNAVAILABLE", message: expect.stringMatching(/container.*isolation: "landlock"/s) },
    level: "landlock",
    stdout: "600\nhello\n42\n",
    file: "hello\n",
    secret: "EACCES",
    kill: 1,
    left: [],
    timeout: true,
    shell: 5,
  });
  const checks = new Map(found.checks.map((check) => [check.name, check]));
  expect(checks.get("landlock")).toMatchObject({ ok: true });
  expect(checks.get("namespaces")).toMatchObject({ ok: false, remedy: expect.stringContaining("landlock") });
});

test.each([
  ["docker-without-landlock", /refused Landlock.*(Linux 6\.12|seccomp profile)/s],
  ["docker-with-landlock-5", /ABI 5.*Linux 6\.12/s],
])("under %s landlock is refused with its cause and remedy, and doctor names no level", async (profile, message) => {
  const { refused, level, checks } = await inContainer(
    profile,
    `return { refused: await failure(AgentVm.create({ isolation: "landlock" })), ...(await AgentVm.doctor()) };`,
  );
  expect(refused).toMatchObject({ code: "ISOLATION_UNAVAILABLE", message: expect.stringMatching(message) });
  expect(level).toBe("none");
  expect(checks.find(({ name }) => name === "landlock")).toMatchObject({
    ok: false,
    remedy: expect.stringMatching(/6\.12/),
  });
});
