"use strict";
// A working directory, a program or an interpreter whose path leads through /proc to a descriptor of init, and from
// there to the host.

const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("../fixture/directory");
const { rejection } = require("../fixture/promises");
const { muslRoot } = require("../fixture/roots");
const { boot, output } = require("../fixture/vm");
const { heldLimits } = require("../fixture/limits");

/** More than init has. */
const NUMBERS = Array.from({ length: 65 }, (_, number) => number);

/**
 * Without limits, and with the limits that this host can enforce, for which init uses more of the host's cgroup
 * directories.
 */
const kinds = ["without limits", "with limits"];
let limits;
beforeAll(() => {
  limits = heldLimits(2 ** 27);
});
const optionsOf = (kind) => (kind === "with limits" ? { limits } : {});

/** A directory on the host with a file and a program that every user of the host may read and run. */
function planted() {
  const directory = temporaryDirectory();
  fs.chmodSync(directory, 0o755);
  fs.writeFileSync(path.join(directory, "secret"), "the host's secret\n", { mode: 0o644 });
  fs.writeFileSync(path.join(directory, "program"), "#!/bin/sh\necho the host\\'s program\n", { mode: 0o755 });
  return directory;
}

/** A command that looks for the secret from its working directory upwards, and prints where it is. */
const climb = (host) => `
echo "here: $(pwd -P)"
up=.
for level in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
  cat "$up${host}/secret" 2>/dev/null
  ls "$up${host}" 2>/dev/null
  up="$up/.."
done
true`;

/** The result of a call, or the error's code if it is refused. */
async function attempt(call) {
  try {
    return await call();
  } catch (error) {
    return error;
  }
}

/** Starts the climb with this working directory in each of the three ways to start a program. */
async function startsIn(vm, cwd, host) {
  const command = climb(host);
  const exec = await attempt(async () => (await vm.exec(command, { cwd })).stdout);
  const spawn = await attempt(async () => {
    let printed = "";
    const { pid } = await vm.spawn("sh", ["-c", command], { cwd, onStdout: (data) => (printed += data) });
    await vm.waitProcess(pid);
    return printed;
  });
  const shell = await attempt(async () => {
    const { shellId } = await vm.openShell({ command: "sh", args: ["-c", command], cwd });
    await vm.waitShell(shellId);
    return Buffer.from((await vm.readShell(shellId)).data).toString();
  });
  return [exec, spawn, shell];
}

/** Fails unless all of them were refused by the expected call and for the expected path. */
function expectRefused(results, cwd) {
  for (const result of results) {
    expect(result).toMatchObject({ syscall: "chdir", path: cwd });
    expect(["ELOOP", "ENOENT", "EACCES", "ENOTDIR"]).toContain(result.code);
  }
}

describe.each(kinds)("%s", (kind) => {
  test("no descriptor of init's is a working directory, by whatever name", async () => {
    const host = planted();
    const vm = await boot(optionsOf(kind));
    // A process of another family, which is there while the others start.
    await vm.spawn("sleep", ["60"]);
    const names = NUMBERS.flatMap((number) => [`/proc/self/fd/${number}`, `/proc/1/fd/${number}`, `/dev/fd/${number}`]);
    for (const cwd of names) {
      const result = await attempt(async () => (await vm.exec(climb(host), { cwd })).stdout);
      expectRefused([result], cwd);
    }
    // And directories that lead on from there.
    for (const number of NUMBERS.slice(3, 24)) {
      const cwd = `/proc/self/fd/${number}/../../../../../..${host}`;
      expectRefused([await attempt(async () => (await vm.exec(climb(host), { cwd })).stdout)], cwd);
    }
  });

  test("a directory that was replaced by a link to a descriptor of init's is refused", async () => {
    const host = planted();
    const vm = await boot(optionsOf(kind));
    await output(vm, "mkdir project");
    const cwd = "/home/user/project";
    for (const number of NUMBERS.slice(3, 24)) {
      for (const target of [`/proc/self/fd/${number}`, `/proc/thread-self/fd/${number}`]) {
        await output(vm, `rm -rf project && ln -s ${target} project`);
        expectRefused(await startsIn(vm, cwd, host), cwd);
      }
    }
    await output(vm, "rm project && mkdir project");
    expect(await output(vm, "pwd -P", { cwd })).toBe(`${cwd}\n`);
  });
});

test("no other magic link of /proc is a working directory, and the error says so", async () => {
  const host = planted();
  const vm = await boot();
  const { pid } = await vm.spawn("sleep", ["60"]);
  for (const cwd of [
    "/proc/self/cwd",
    "/proc/self/root",
    "/proc/self/root/tmp",
    "/proc/thread-self/cwd",
    "/proc/thread-self/root",
    "/proc/1/cwd",
    "/proc/1/root",
    "/proc/self/task/1/fd/3",
    "/proc/self/task/1/root",
    `/proc/${pid}/cwd`,
    `/proc/${pid}/root`,
  ]) {
    const results = await startsIn(vm, cwd, host);
    expectRefused(results, cwd);
    for (const { code, message } of results) {
      // Init or a helper opens it, and `self` is who does.
      expect(code).toMatch(cwd.startsWith("/proc/self/task/1/") ? /^(ELOOP|EACCES|ENOENT)$/ : /^(ELOOP|EACCES)$/);
      expect(message).toContain(cwd);
    }
  }
});

test("what /proc shows of init is no working directory either", async () => {
  const vm = await boot();
  for (const cwd of ["/proc/self", "/proc/thread-self", "/proc/1", "/proc/1/task", "/proc/self/fd", "/proc/1/ns"]) {
    expect(await rejection(vm.exec("pwd", { cwd }))).toMatchObject({ code: "EACCES", syscall: "chdir", path: cwd });
  }
});

test("a home that was replaced by a link to a descriptor of init's is refused, where the root is the guest's to change", async () => {
  const host = planted();
  const root = muslRoot(temporaryDirectory());
  fs.chmodSync(root, 0o755);
  const vm = await boot({ rootfs: root });
  const moved = await vm.exec("mv /home /moved && mkdir /home");
  expect(moved).toMatchObject({ exitCode: 0, stderr: "" });
  for (const number of NUMBERS.slice(3, 24)) {
    await output(vm, `rm -f /home/user && ln -s /proc/self/fd/${number} /home/user`, { cwd: "/tmp" });
    for (const cwd of [undefined, "/home/user"]) expectRefused(await startsIn(vm, cwd, host), "/home/user");
  }
  expect(await output(vm, "pwd -P", { cwd: "/moved/user" })).toBe("/moved/user\n");
});

test("ordinary links and directories still work", async () => {
  const vm = await boot();
  await output(vm, "mkdir -p real/below && ln -s real link && ln -s ../real/below real/up && ln -s loop loop");
  expect(await output(vm, "pwd -P", { cwd: "/home/user/link/below" })).toBe("/home/user/real/below\n");
  expect(await output(vm, "pwd -P", { cwd: "/home/user/real/up/../below" })).toBe("/home/user/real/below\n");
  expect(await output(vm, "pwd -P", { cwd: "/bin" })).toMatch(/^\/(usr\/)?bin\n$/);
  expect(await output(vm, "pwd -P", { cwd: "/proc" })).toBe("/proc\n");
  expect(await output(vm, "pwd -P", { cwd: "/proc/sys/kernel" })).toBe("/proc/sys/kernel\n");
  expect(await rejection(vm.exec("pwd", { cwd: "/home/user/loop" }))).toMatchObject({
    code: "ELOOP",
    syscall: "chdir",
  });
});

test.each(["namespaces", "landlock"])(
  "at the level %s no program, interpreter or entry of PATH leads through a descriptor to the host",
  async (isolation) => {
    const host = planted();
    const vm = await boot({ isolation });
    const script = `${(await output(vm, "echo $HOME")).trim()}/script`;
    await vm.spawn("sleep", ["60"]);
    const up = "../".repeat(12);
    for (const number of NUMBERS.slice(0, 40)) {
      for (const held of [`/proc/self/fd/${number}`, `/proc/1/fd/${number}`, `/dev/fd/${number}`]) {
        const outside = `${held}/${up}${host.slice(1)}`;
        const program = `${outside}/program`;
        const started = await attempt(async () => (await vm.execFile(program)).stdout);
        expect(started).toMatchObject({ syscall: "execve", path: program });
        expect(await attempt(() => vm.execFile(held))).toMatchObject({ syscall: "execve", path: held });
        const found = await attempt(async () => (await vm.execFile("program", [], { env: { PATH: outside } })).stdout);
        expect(found).toMatchObject({ code: expect.stringMatching(/^(ENOENT|EACCES)$/), syscall: "execve" });
      }
    }
    const scripts = NUMBERS.slice(0, 40).flatMap((number) => [
      `#!/proc/self/fd/${number}/${up}${host.slice(1)}/program`,
      `#!/proc/self/fd/${number}`,
    ]);
    for (const line of scripts) {
      await vm.writeFile(script, `${line}\n`);
      await output(vm, "chmod 755 script");
      const ran = await attempt(async () => (await vm.execFile(script)).stdout);
      expect(ran).toMatchObject({ syscall: "execve" });
    }
  },
  120_000,
);
