"use strict";
// VMs with a range of ids: root has the capabilities that act on the VM's own ids, and other users are real.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { directoryForFile, temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { debianRoot, muslRoot } = require("./fixture/roots");
const { hasRange } = require("./fixture/subordinate");
const { boot, bootForFile, output } = require("./fixture/vm");

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, AUDIT_WRITE. */
const ELEVEN = "00000000200405fb";
const NOTHING = "0000000000000000";

function fields(status) {
  return Object.fromEntries(status.split("\n").map((line) => line.split(":\t")));
}

if (hasRange()) {
  let vm;

  beforeAll(async () => {
    const rootfs = muslRoot(directoryForFile());
    const source = path.join(rootfs, "ids.c");
    fs.writeFileSync(
      source,
      `#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d %d\\n", getuid(), geteuid(), getegid()); return 0; }`,
    );
    execFileSync("musl-gcc", ["-static", "-o", path.join(rootfs, "bin/ids"), source]);
    vm = await bootForFile({ ids: "range", rootfs });
  });

  const asRoot = (command) => output(vm, command, { user: "root" });
  const asOther = (command, user = "33:33") => vm.exec(command, { user, cwd: "/" });

  test("a VM with root gets a range where the host has one, and says so", async () => {
    expect(vm.enforcement.ids).toBe("range");
    const other = await boot({ user: "root" });
    expect(other.enforcement.ids).toBe("range");
    expect(await output(other, "id -u; id -g; pwd; echo $HOME $USER")).toBe("0\n0\n/root\n/root root\n");
    expect((await boot({ user: "root", ids: "single" })).enforcement.ids).toBe("single");
  });

  test("root has eleven capabilities, and other users have none", async () => {
    const status = "cat /proc/self/status";
    const sets = { CapInh: NOTHING, CapBnd: ELEVEN, CapAmb: NOTHING, Seccomp: "2" };
    expect(fields(await asRoot(status))).toMatchObject({ ...sets, CapPrm: ELEVEN, CapEff: ELEVEN });
    for (const user of ["user", "33:33"]) {
      const found = fields((await asOther(status, user)).stdout);
      expect(found).toMatchObject({ ...sets, CapPrm: NOTHING, CapEff: NOTHING });
    }
    const init = fields(await asRoot("cat /proc/1/status"));
    expect(init).toMatchObject({ ...sets, CapPrm: NOTHING, CapEff: NOTHING, CapBnd: NOTHING });
  });

  test("spawned processes, shells and contexts run as the user that the call names", async () => {
    let printed = "";
    const { pid } = await vm.spawn("id", ["-u"], { user: "33:44", cwd: "/", onStdout: (data) => (printed += data) });
    await vm.waitProcess(pid);
    expect(printed).toBe("33\n");
    const { contextId } = await vm.createContext({ user: "root" });
    expect((await vm.exec("id -u", { contextId })).stdout).toBe("0\n");
    const plain = await vm.createContext();
    expect((await vm.exec("id -u; grep CapEff /proc/self/status", { contextId: plain.contextId })).stdout).toBe(
      `1000\nCapEff:\t${NOTHING}\n`,
    );
  });

  test("users are kept from each other's files and processes", async () => {
    await asRoot(
      "umask 077; echo secret > /root.only; mkdir /closed; sleep 1000 & echo $! > /tmp/pid; chmod 644 /tmp/pid",
    );
    for (const user of ["user", "33:33"]) {
      const { stdout, stderr } = await asOther(
        "cat /root.only; ls /closed; kill $(cat /tmp/pid); echo x > /etc/passwd",
        user,
      );
      expect(stdout).toBe("");
      expect(stderr.match(/denied|not permitted/gi)).toHaveLength(4);
    }
    expect(await asRoot("cat /root.only; kill $(cat /tmp/pid)")).toBe("secret\n");
  });

  test("root changes owners, and gives up to nobody what it makes in the home of user", async () => {
    await asRoot(
      "echo x > /home/user/file; chown 33:44 /home/user/file; mkdir /home/user/of-user; chown user /home/user/of-user",
    );
    expect(await output(vm, "stat -c '%u %g' file; touch of-user/x; stat -c %u of-user/x")).toBe("33 44\n1000\n");
  });

  test("set-user-id programs work, in a user's shell as in a service", async () => {
    await asRoot(
      "mkdir /s; cp /bin/ids /s/ids; chown 5:6 /s/ids; chmod 6755 /s/ids; cp /bin/ids /s/as-root; chmod 4755 /s/as-root",
    );
    expect(await output(vm, "/bin/ids; /s/ids; /s/as-root")).toBe("1000 1000 1000\n1000 5 6\n1000 0 1000\n");
    // Where the VM's own directories are mounted without them, they do not.
    expect(await asRoot("cp -p /s/ids /tmp/ids; stat -c %a /tmp/ids; /tmp/ids")).toBe("6755\n0 0 0\n");
  });

  test("users that were added later have numbers", async () => {
    await asRoot("echo bob:x:1234:1235::/:/bin/sh >> /etc/passwd");
    expect(await rejection(vm.exec("true", { user: "bob" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await asOther("id -un; id -g", "1234:1235")).stdout).toBe("bob\n1235\n");
  });

  test("a program starts in a directory that its user may enter, and in no other", async () => {
    await asRoot("mkdir -p /deep/inner; chmod 700 /deep");
    expect(await output(vm, "pwd", { user: "root", cwd: "/deep/inner" })).toBe("/deep/inner\n");
    for (const user of ["user", "33:33"]) {
      expect(await rejection(vm.exec("pwd", { user, cwd: "/deep/inner" }))).toMatchObject({ code: "EACCES" });
    }
    const { pid } = await vm.spawn("sh", ["-c", "exec 5< /; sleep 1000"], { user: "root" });
    const link = `/proc/${pid}/fd/5`;
    await asRoot(`until [ -e ${link} ]; do sleep 0.01; done`);
    expect(await rejection(vm.exec("pwd", { user: "root", cwd: link }))).toMatchObject({ code: "ELOOP" });
    await vm.killProcess(pid);
  });

  test("numbers beyond the range, and names that the VM does not have, are refused", async () => {
    for (const user of ["65535", "65536:0", "0:65535", "nobody-knows", "-1", "1:2:3", "4294967295"]) {
      expect(await rejection(vm.exec("true", { user }))).toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });

  test("the limit on processes holds for all users of a VM together", async () => {
    const bounded = await boot({ ids: "range", user: "root", limits: { pids: 40 } });
    const source = `
import os, time
made = 0
for uid in range(2000, 2400):
    try:
        if os.fork() == 0:
            os.setgid(uid); os.setuid(uid)
            try:
                for _ in range(3):
                    if os.fork() == 0: break
            except OSError: pass
            time.sleep(1000)
        made += 1
    except OSError:
        break
time.sleep(1)
print(made, len([p for p in os.listdir("/proc") if p.isdigit()]), flush=True)
os._exit(0)`;
    const { stdout } = await bounded.execFile("python3", ["-c", source], { timeout: 30_000 });
    const [made, all] = stdout.split(" ").map(Number);
    expect(made).toBeLessThan(45);
    expect(all).toBeLessThan(50);
  });

  if (process.getuid() === 0) {
    test("owners on disk are the owners in the VM, and files on the host keep theirs", async () => {
      const rootfs = muslRoot(temporaryDirectory());
      const file = path.join(rootfs, "etc/secret");
      fs.writeFileSync(file, "x", { mode: 0o600 });
      fs.chownSync(path.join(rootfs, "etc/release"), 33, 44);
      const other = await boot({ ids: "range", rootfs });
      const stat = "stat -c '%u %g' /etc/secret /etc/release /bin/busybox";
      expect(await output(other, stat)).toBe("0 0\n33 44\n0 0\n");
      expect((await other.exec("cat /etc/secret")).exitCode).not.toBe(0);
      expect(
        await output(other, "cat /etc/secret; chown 7 /etc/secret; stat -c %u /etc/secret", { user: "root" }),
      ).toBe("x7\n");
      expect(fs.statSync(file)).toMatchObject({ uid: 0, gid: 0 });
    });

    test("useradd, su and chown work in a Debian root", async () => {
      const debian = await boot({ ids: "range", user: "root", rootfs: debianRoot() });
      await output(debian, "useradd --create-home --groups games bob && passwd --delete bob");
      expect(await output(debian, "su - bob -c 'pwd; id -un; id -Gn; touch x; stat -c %U x'")).toBe(
        "/home/bob\nbob\nbob games\nbob\n",
      );
      // su is a set-user-id program, and bob has no password.
      expect(await output(debian, "su bob -c 'id -un'", { user: "user" })).toBe("bob\n");
      expect(await output(debian, "chown bob:games /srv; stat -c %U:%G /srv; userdel bob; stat -c %u /srv")).toMatch(
        /^bob:games\n1001\n$/,
      );
    });
  }
} else {
  test("a range is refused where the host has none, and nothing weaker is chosen", async () => {
    const refused = await rejection(AgentVm.create({ ids: "range", user: "root" }));
    const { checks } = await AgentVm.doctor();
    const { detail, remedy } = checks.find(({ name }) => name === "id range");
    expect(refused).toMatchObject({ code: "ISOLATION_UNAVAILABLE", message: `${detail}. ${remedy}` });
    const vm = await boot({ user: "root" });
    expect(vm.enforcement.ids).toBe("single");
  });
}
