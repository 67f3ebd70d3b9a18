"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const asRoot = { user: "root" };
const ofRoot = { user: "root", ids: "single" };

/** With a single id the kernel lets no program leave the groups of an ordinary user's server, and names them so. */
const GROUPS =
  process.getuid() !== 0 && process.getgroups().some((group) => group !== process.getgid()) ? "[65534]" : "[]";

const nothing = "0".repeat(16);
const WITHOUT_RIGHTS = {
  CapInh: nothing,
  CapPrm: nothing,
  CapEff: nothing,
  CapBnd: nothing,
  CapAmb: nothing,
  NoNewPrivs: "1",
  Seccomp: "2",
};

function fields(status) {
  return Object.fromEntries(status.split("\n").map((line) => line.split(":\t")));
}

test("a VM has no root unless it was asked for, and then calls for root are refused and name the option", async () => {
  const vm = await boot({ user: "user" });
  expect(vm.enforcement.ids).toBeNull();
  const refused = { code: "INVALID_ARGUMENT", message: expect.stringContaining('`user: "root"`') };
  for (const user of ["root", "0", "0:0", "postgres"]) {
    expect(await rejection(vm.exec("true", { user }))).toMatchObject(refused);
    expect(await rejection(vm.spawn("true", [], { user }))).toMatchObject(refused);
    expect(await rejection(vm.openShell({ user }))).toMatchObject(refused);
    expect(await rejection(vm.createContext({ user }))).toMatchObject(refused);
  }
  expect(await output(vm, "id -un", { user: "user" })).toBe("user\n");
});

test("a VM of root runs its programs as root, in the home of root", async () => {
  const vm = await boot(ofRoot);
  expect(vm.enforcement.ids).toBe("single");
  expect(await output(vm, "id; pwd; echo $HOME $USER $LOGNAME $PATH")).toMatch(
    /^uid=0\(root\) gid=0\(root\) groups=0\(root\)(,65534\(nogroup\))?\n\/root\n\/root root root \S*:?\/root\/\.local\/bin:/,
  );
  expect(await output(vm, "touch file && stat -c %u:%g file . /tmp /home/user")).toBe("0:0\n".repeat(4));
  expect(await output(vm, "id -un; pwd; echo $HOME $USER", { user: "user" })).toBe(
    "user\n/home/user\n/home/user user\n",
  );
});

test("a VM with a single id runs each call as root or as user, who are the same to each other's files", async () => {
  const vm = await boot({ ids: "single", user: "user" });
  expect(await output(vm, "id -u; touch /root/of-user; stat -c %U /root/of-user")).toBe("1000\nuser\n");
  for (const user of ["root", "0", "0:0"]) expect(await output(vm, "id -u", { user })).toBe("0\n");
  for (const user of ["user", "1000", "1000:1000"]) expect(await output(vm, "id -u", { user })).toBe("1000\n");
  expect(await output(vm, "stat -c %U of-user; rm of-user", asRoot)).toBe("root\n");
  const { pid } = await vm.spawn("sh", ["-c", "id -u >&2; exit 3"], { ...asRoot, onStderr: (data) => (seen += data) });
  let seen = "";
  expect(await vm.waitProcess(pid)).toBe(3);
  expect(seen).toBe("0\n");
  const shell = await vm.openShell({ ...asRoot, command: "sh", args: ["-c", "id -u; tty; stat -c %u $(tty)"] });
  let screen = "";
  for await (const chunk of shell.stream) screen += Buffer.from(chunk);
  expect(screen).toBe("0\r\n/dev/pts/0\r\n0\r\n");
  const { contextId } = await vm.createContext(asRoot);
  expect(await output(vm, "sleep 1000 & cd /; export NAME=$(id -un)", { contextId })).toBe("");
  expect(await output(vm, "pwd; echo $NAME $HOME", { contextId })).toBe("/\nroot /root\n");
  const refused = { code: "INVALID_ARGUMENT", message: expect.stringContaining('ids: "range"') };
  for (const user of ["postgres", "33", "0:1000"])
    expect(await rejection(vm.exec("true", { user }))).toMatchObject(refused);
});

test("root has no capability and can gain none, and its changes of owners and ids do nothing and succeed", async () => {
  const vm = await boot(ofRoot);
  expect(fields(await output(vm, "cat /proc/self/status"))).toMatchObject(WITHOUT_RIGHTS);
  expect(await output(vm, "touch f; chown 33:33 f && chgrp -h 7 f && stat -c %u:%g f")).toBe("0:0\n");
  const script = `
import os
os.setgroups([33]); os.setgid(33); os.setuid(33)
print(os.getresuid(), os.getresgid(), os.getgroups())`;
  expect(await output(vm, `python3 -c '${script}'`)).toBe(`(0, 0, 0) (0, 0, 0) ${GROUPS}\n`);
  for (const command of ["unshare --user true", "mount -t tmpfs x /tmp", "mknod d c 1 3", "nsenter -U -t $$ true"]) {
    expect((await vm.exec(command)).exitCode).not.toBe(0);
  }
});

test("user cannot enter the namespace of root, nor root that of init", async () => {
  const vm = await boot({ ids: "single", user: "user" });
  const { pid } = await vm.spawn("sleep", ["1000"], asRoot);
  const enter = (target) => `
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
try: fd = os.open("/proc/${target}/ns/user", os.O_RDONLY)
except OSError as error: print(errno.errorcode[error.errno])
else: print(errno.errorcode[ctypes.get_errno()] if libc.setns(fd, 0) else "entered")`;
  expect(await output(vm, `python3 -c '${enter(pid)}'`)).toBe("EPERM\n");
  expect(await output(vm, `python3 -c '${enter(1)}'`, asRoot)).toBe("EACCES\n");
  const { pid: userPid } = await vm.spawn("sleep", ["1000"]);
  expect(await output(vm, `python3 -c '${enter(userPid)}'`, asRoot)).toMatch(/^(EACCES|EPERM)\n$/);
});

test("the limit on processes holds for root and user together", async () => {
  const vm = await boot({ ids: "single", user: "user", limits: { pids: 12 } });
  const started = [];
  for (const user of ["user", "root"]) {
    for (let i = 0; i < 12; i++) started.push(await rejectionOr(vm.spawn("sleep", ["1000"], { user })));
  }
  const running = started.filter((one) => one !== "EAGAIN").length;
  expect(running).toBeGreaterThan(5);
  expect(running).toBeLessThan(12);
  for (const pid of started.filter((one) => one !== "EAGAIN")) await vm.killProcess(pid);
  const fork = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done";
  expect((await vm.exec(fork, asRoot)).stderr).toMatch(/fork/);
  expect((await vm.allProcesses()).length).toBeLessThan(13);
});

async function rejectionOr(promise) {
  return promise.then(
    ({ pid }) => pid,
    ({ code }) => code,
  );
}

test("kills, timeouts and the end of the VM take what root has started", async () => {
  const vm = await boot({ ids: "single", user: "user" });
  const tree = "sleep 1000 & setsid sleep 1001 & exec sleep 1002";
  const process = await vm.spawn("sh", ["-c", tree], asRoot);
  await process.kill();
  const timedOut = await vm.exec(tree, { ...asRoot, timeout: 200 });
  expect(timedOut).toMatchObject({ timedOut: true, exitCode: 137 });
  expect((await vm.allProcesses()).filter(({ command }) => command === "sleep")).toEqual([]);
});

test("pipes beside the standard streams reach a program of root", async () => {
  const vm = await boot(ofRoot);
  const process = await vm.spawn("sh", ["-c", "id -u >&3; ls /proc/self/fd >&4"], {
    descriptors: { 3: "output", 4: "output" },
  });
  const read = async (stream) => {
    let text = "";
    for await (const chunk of stream) text += Buffer.from(chunk);
    return text;
  };
  expect(await read(process.descriptors[3])).toBe("0\n");
  // ls has one more: the directory that it lists.
  expect(await read(process.descriptors[4])).toBe("0\n1\n2\n3\n4\n5\n");
});

test("host directories take no set-id file of root's, and what root makes there belongs to the directory's owner", async () => {
  const host = temporaryDirectory();
  const vm = await boot({ ...ofRoot, mounts: [{ path: "/mnt/host", hostPath: host, readOnly: false }] });
  expect(await output(vm, "cd /mnt/host; cp /bin/true set; chown 7:7 set; chmod 755 set; stat -c %u set")).toBe("0\n");
  for (const mode of ["4755", "2755", "6711"]) expect((await vm.exec(`chmod ${mode} /mnt/host/set`)).exitCode).toBe(1);
  expect((await vm.exec("setcap cap_net_raw+ep /mnt/host/set")).exitCode).not.toBe(0);
  const { uid, gid } = fs.statSync(host);
  const made = fs.statSync(path.join(host, "set"));
  expect([made.uid, made.gid, made.mode & 0o7777]).toEqual([uid, gid, 0o755]);
});

test("a root is refused where there are no namespaces", async () => {
  for (const isolation of ["landlock", "none"]) {
    for (const options of [asRoot, { ids: "single" }, { ids: "range" }]) {
      expect(await rejection(AgentVm.create({ ...options, isolation }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining('isolation "namespaces"'),
      });
    }
  }
  for (const options of [{ user: "" }, { user: 0 }, { ids: "many" }, { user: "postgres", ids: "single" }]) {
    expect(await rejection(AgentVm.create(options))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});
