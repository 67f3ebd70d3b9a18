"use strict";
// The descriptors that init holds while a VM runs. No program gets any of them; if one ever did, none must lead out of
// the VM.

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { AgentVm } = require("../..");
const { ownDirectories } = require("../fixture/cgroups");
const { delegatedCgroup } = require("../fixture/delegated-cgroup");
const { temporaryDirectory } = require("../fixture/directory");
const { python } = require("../fixture/guest-programs");
const { descendants, inits, withInit } = require("../fixture/processes");
const { rejection, until } = require("../fixture/promises");
const { nodeScript, readableCopy } = require("../fixture/server-process");
const { boot } = require("../fixture/vm");

const ROOT = process.getuid() === 0;

let limits;
beforeAll(async () => {
  const { checks } = await AgentVm.doctor();
  const served = Object.fromEntries(checks.map(({ name, ok }) => [name, ok]));
  limits = { ...(served["memory limit"] && { memoryBytes: 2 ** 27 }), ...(served["cpu limit"] && { cpus: 1 }) };
});

const identity = ({ dev, ino }) => `${dev}:${ino}`;

/**
 * Directories that every way out of a VM passes: the host's root, some that no VM shows, and those above its cgroups.
 */
function outside(cgroup = []) {
  const above = [...ownDirectories(), ...cgroup].flatMap((directory) => {
    const names = directory.split("/").filter(Boolean);
    return names.map((_, index) => `/${names.slice(0, index + 1).join("/")}`);
  });
  const paths = ["/", "/proc", "/sys", "/sys/fs", "/home", "/root", "/run", "/var", "/tmp", os.tmpdir(), ...above];
  const found = paths.flatMap((name) => {
    const stat = fs.statSync(name, { throwIfNoEntry: false });
    return stat === undefined ? [] : [[identity(stat), name]];
  });
  return new Map(found);
}

function attempt(action, otherwise) {
  try {
    return action();
  } catch (error) {
    return otherwise(error);
  }
}

/** The descriptors of a process: the target of each, and the directories that `..` leads to from there. */
function held(pid) {
  const refused = (error) => error.code;
  return fs.readdirSync(`/proc/${pid}/fd`).flatMap((number) => {
    const start = `/proc/${pid}/fd/${number}`;
    const name = attempt(() => fs.readlinkSync(start), refused);
    // Init had closed it already.
    if (name === "ENOENT") return [];
    const above = [];
    for (let level = 0; level < 24; level++) {
      // With the `.`, the kernel refuses anything that is not a directory.
      const found = attempt(() => identity(fs.statSync(`${start}/.${"/..".repeat(level)}`)), refused);
      if (found === "ENOTDIR" || (found === "ENOENT" && level === 0)) break;
      above.push(found);
    }
    return [{ number: Number(number), name, above }];
  });
}

const directoriesOf = (pid) => held(pid).filter(({ above }) => above.length > 0).length;

/** Whether it has detached the host's root: installing its seccomp filter is the last step of the boot. */
const isBooted = (pid) =>
  attempt(
    () => /^Seccomp:\s+2$/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8")),
    () => false,
  );

/** Fails if a descriptor leads out of the VM, or if there is none that could. */
function expectConfined(pid, { directories, cgroup }) {
  const descriptors = held(pid);
  const out = outside(cgroup);
  const ways = descriptors.flatMap(({ number, name, above }) => {
    const met = above.find((directory) => out.has(directory));
    return met === undefined ? [] : [`${number} (${name}) leads to ${out.get(met)}`];
  });
  expect(ways).toEqual([]);
  // The VM's /proc is always among them.
  expect(directoriesOf(pid)).toBeGreaterThanOrEqual(directories);
}

/** A VM in which many programs run. */
async function busy(options) {
  const { vm, init } = await withInit(() => boot(options));
  await vm.spawn("sleep", ["60"]);
  await vm.spawn("cat", []);
  await vm.openShell();
  await vm.exec("sleep 60 &");
  await vm.writeFile("/home/user/file", "text");
  return { vm, pid: init.pid };
}

if (ROOT) {
  test("no descriptor that init holds leads to a directory of the host", async () => {
    expectConfined((await busy()).pid, { directories: 3 });
    expectConfined((await busy({ limits })).pid, { directories: 4 });
    expectConfined((await busy({ network: { allow: ["example.com"] } })).pid, { directories: 3 });
    expectConfined((await busy({ network: "host" })).pid, { directories: 3 });
    const [home, mounted] = [temporaryDirectory(), temporaryDirectory()];
    const mounts = [{ path: "/data/set", hostPath: mounted, readOnly: true }];
    expectConfined((await busy({ home, mounts })).pid, { directories: 3 });
    const disk = { directory: temporaryDirectory(), name: "one" };
    const { pid } = await busy({ disk, limits: { diskBytes: null } });
    expectConfined(pid, { directories: 3 });
    // The lock of its disk, which shows nothing and takes nothing.
    const files = held(pid).filter(({ name }) => name.startsWith(disk.directory));
    expect(files.map(({ name }) => name)).toEqual([`${disk.directory}/one/lock`]);
    const [flags] = /(?<=^flags:\s+)\d+$/m.exec(fs.readFileSync(`/proc/${pid}/fdinfo/${files[0].number}`, "utf8"));
    expect(parseInt(flags, 8) & 0o3).toBe(fs.constants.O_RDONLY);
    expect(outside().size).toBeGreaterThan(8);
  });

  // A program that lists a directory of /proc can hold the lock of that directory, in that instance, for as long as it likes.
  test("init and the host look up processes in an instance of /proc that programs do not have", async () => {
    const { vm, init } = await withInit(() => boot());
    const { stdout } = await vm.exec("stat -c %d /proc");
    const PROC = 0x9fa0;
    const instances = held(init.pid)
      .map(({ number }) => `/proc/${init.pid}/fd/${number}/.`)
      .filter((directory) =>
        attempt(
          () => fs.statfsSync(directory).type === PROC,
          () => false,
        ),
      )
      .map((directory) => fs.statSync(directory).dev);
    expect(instances.length).toBeGreaterThan(0);
    expect(instances).not.toContain(Number(stdout));
  });

  test("no descriptor of a prebooted VM leads to a host directory", async () => {
    await boot({ limits });
    // From the end of its boot on it has the directory for its first command.
    const isReady = ({ pid, name }) => name === "agent-vm-spare" && isBooted(pid) && directoriesOf(pid) >= 3;
    const prebooted = await until(() => descendants(process.pid, { prebooted: true }).find(isReady));
    expectConfined(prebooted.pid, { directories: 3 });
  });

  test("no descriptor that init holds leads to a directory of the host where a cgroup was delegated to an ordinary user", async () => {
    const delegated = delegatedCgroup();
    const server = nodeScript(
      `const vm = await AgentVm.create();
       await vm.spawn("sleep", ["60"]);
       await vm.openShell();
       console.log("ready");
       setInterval(() => {}, 1000);`,
      { prefix: delegated.prefix, from: readableCopy() },
    );
    await server.line();
    const named = descendants(server.child.pid).filter(({ name }) => name === "agent-vm-init");
    expect(named).toHaveLength(1);
    expectConfined(named[0].pid, { directories: 3, cgroup: [delegated.directory] });
  });

  test("without namespaces, the process that starts programs holds no directory", async () => {
    const before = descendants(process.pid);
    const vm = await boot({ isolation: "landlock" });
    await vm.spawn("sleep", ["60"]);
    await vm.exec("true");
    const { deputy } = inits(before);
    expect(held(deputy).filter(({ above }) => above.length > 0)).toEqual([]);
  });
} else {
  test("not even the server's own user lists what init holds", async () => {
    const { pid } = await busy({ limits });
    expect(() => fs.readdirSync(`/proc/${pid}/fd`)).toThrow("EACCES");
  });
}

test.each(["namespaces", "landlock"])(
  "no program takes a descriptor of another process, not even of its own child (%s)",
  async (isolation) => {
    const vm = await boot({ isolation });
    // A killed process has no memory any more that would show whose it was, but still has its descriptors. It may be
    // one that init was about to start. So the call is refused whatever process it names.
    const lines = await python(
      vm,
      `
import subprocess
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
pidfd_open, pidfd_getfd = 434, 438
for label, pid in (("child", child.pid), ("itself", os.getpid())):
    pidfd = libc.syscall(pidfd_open, pid, 0)
    assert pidfd >= 0
    attempt(label, libc.syscall, pidfd_getfd, pidfd, 0, 0)
attempt("no process", libc.syscall, pidfd_getfd, -1, 0, 0)
child.kill()`,
    );
    expect(lines).toEqual(["child EPERM", "itself EPERM", "no process EPERM"]);
  },
);

test("without namespaces a program may stand where it likes, and gets nothing to read there", async () => {
  const host = temporaryDirectory();
  fs.chmodSync(host, 0o755);
  fs.writeFileSync(path.join(host, "secret"), "the host's secret\n", { mode: 0o644 });
  const vm = await boot({ isolation: "landlock" });
  for (const cwd of ["/", host]) {
    const tried = await vm.exec(`ls . ; cat secret .${host}/secret ../..${host}/secret; echo x > file`, { cwd });
    expect(tried.stdout).toBe("");
    expect(tried.stderr).toContain("Permission denied");
  }
  expect(fs.readdirSync(host)).toEqual(["secret"]);
  for (let number = 0; number <= 64; number++) {
    for (const cwd of [`/proc/self/fd/${number}`, `/dev/fd/${number}`]) {
      const error = await rejection(vm.exec("pwd", { cwd }));
      expect(error).toMatchObject({ syscall: "chdir", path: cwd });
      expect(["ELOOP", "ENOENT"]).toContain(error.code);
    }
  }
});
