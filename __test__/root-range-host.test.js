"use strict";
// Directories of the host in VMs with a range of ids: their owner is the VM's default user, and root inside has no more rights
// there than that.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { directoryForFile, temporaryDirectory } = require("./fixture/directory");
const { pythonJson } = require("./fixture/guest-programs");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { hasRange } = require("./fixture/subordinate");
const { boot, output } = require("./fixture/vm");

/** CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, AUDIT_WRITE. */
const TEN = "00000000200405eb";
const OWNER = 54_321;
const isRoot = process.getuid() === 0;

const owners = (file) => {
  const { uid, gid, mode } = fs.lstatSync(file);
  return { uid, gid, mode: mode & 0o7777 };
};

const extendedAttributes = (file) =>
  execFileSync("python3", ["-c", "import os, sys; print(os.listxattr(sys.argv[1]))", file], { encoding: "utf8" });

/** A directory of a user of the host, with files of this user and of another one. */
function shared() {
  const host = temporaryDirectory();
  fs.chmodSync(host, 0o755);
  fs.writeFileSync(path.join(host, "own"), "own", { mode: 0o600 });
  fs.writeFileSync(path.join(host, "read"), "read", { mode: 0o644 });
  fs.writeFileSync(path.join(host, "secret"), "secret", { mode: 0o600 });
  if (isRoot) {
    for (const name of [".", "own"]) fs.chownSync(path.join(host, name), OWNER, OWNER);
    for (const name of ["read", "secret"]) fs.chownSync(path.join(host, name), OWNER + 1, OWNER + 1);
  }
  return host;
}

if (!hasRange()) {
  test("a range is refused, with directories of the host as without", async () => {
    const mounts = [{ path: "/mnt/x", hostPath: temporaryDirectory() }];
    expect(await rejection(AgentVm.create({ ids: "range", mounts }))).toMatchObject({ code: "ISOLATION_UNAVAILABLE" });
  });
} else {
  test("a mount that is only read shows its owner, and nobody inside writes it", async () => {
    const host = shared();
    const options = { ids: "range", mounts: [{ path: "/mnt/x", hostPath: host }] };
    const vm = await boot(options);
    expect(await output(vm, "cd /mnt/x; stat -c %u . own; cat own")).toBe("1000\n1000\nown");
    for (const user of ["root", "user", "33:33"]) {
      const script = "cd /mnt/x; for to in own read new; do echo x > $to; done; rm own; chmod 777 own; chown 33 own";
      const { stderr } = await vm.exec(script, { user, cwd: "/" });
      expect(stderr.split("\n").filter((line) => /read-only|denied|not permitted/i.test(line))).toHaveLength(6);
    }
    expect(fs.readFileSync(path.join(host, "own"), "utf8")).toBe("own");
  });

  test("root lacks what acts on set-id files and file capabilities where the VM shows the host", async () => {
    const status = "grep -E 'Cap(Eff|Bnd)' /proc/self/status";
    const mounts = [{ path: "/mnt/x", hostPath: temporaryDirectory() }];
    for (const options of [{ mounts }, { network: "host" }]) {
      const vm = await boot({ ids: "range", ...options });
      expect(await output(vm, status, { user: "root" })).toBe(`CapEff:\t${TEN}\nCapBnd:\t${TEN}\n`);
    }
  });

  test("set-user-id programs of a VM that shows the host work, for the users who may make them", async () => {
    const rootfs = muslRoot(directoryForFile());
    const source = path.join(rootfs, "ids.c");
    fs.writeFileSync(
      source,
      `#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d\\n", geteuid(), getegid()); return 0; }`,
    );
    execFileSync("musl-gcc", ["-static", "-o", path.join(rootfs, "bin/ids"), source]);
    const vm = await boot({ ids: "range", rootfs, mounts: [{ path: "/mnt/x", hostPath: temporaryDirectory() }] });
    const asRoot = (command) => output(vm, command, { user: "root" });
    await asRoot("mkdir /s; cp /bin/ids /s/ids; chown 5:6 /s/ids; chmod 6755 /s/ids; cp /bin/ids /s/group");
    // As packages do it: the group is not one of root's.
    await asRoot("chown 0:33 /s/group; chmod 2755 /s/group; chmod 755 /s");
    expect(await output(vm, "/s/ids; /s/group")).toBe("5 6\n1000 33\n");
    const own = "cp /bin/ids ids; chmod 4755 ids; stat -c '%u %a' ids; cd ..; chmod 4700 user/ids; stat -c %a user/ids";
    expect(await output(vm, own)).toBe("1000 4755\n4700\n");
    // An ordinary user's files are those of `user`.
    for (const name of [isRoot ? "/bin/ids" : "/s/group", "/s/ids", "/s/../s/ids", "/proc/self/root/s/ids"]) {
      const { exitCode, stderr } = await vm.exec(`chmod 6777 ${name}`);
      expect({ name, exitCode, stderr }).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/permitted|links/),
      });
    }
    expect(await asRoot("stat -c %a /s/group /s/ids")).toBe("2755\n6755\n");
  });

  test("a program that becomes root meanwhile lends its rights to no call that was made before", async () => {
    const rootfs = muslRoot(directoryForFile());
    const source = path.join(rootfs, "race.c");
    fs.writeFileSync(source, RACE);
    execFileSync("musl-gcc", ["-static", "-o", path.join(rootfs, "bin/race"), source]);
    const vm = await boot({ ids: "range", rootfs, mounts: [{ path: "/mnt/x", hostPath: temporaryDirectory() }] });
    await output(vm, "cp /bin/race /as-root; chmod 4755 /as-root; echo x > /target; chmod 755 /target", {
      user: "root",
    });
    expect(await output(vm, "race 400; stat -c %a /target")).toBe("1 1 0\n755\n");
  });

  if (isRoot) {
    test("root reads of other users of the host what everybody may read", async () => {
      const vm = await boot({ ids: "range", user: "root", mounts: [{ path: "/mnt/x", hostPath: shared() }] });
      const { stdout, stderr } = await vm.exec("cd /mnt/x; cat read secret");
      expect({ stdout, stderr }).toEqual({ stdout: "read", stderr: expect.stringMatching(/denied/) });
    });

    test.each(["user", "root", "33:44"])("the owner of a home and of a mount is the default user %s", async (user) => {
      const [home, mounted] = [shared(), shared()];
      const mounts = [
        { path: "/mnt/x", hostPath: mounted, readOnly: false },
        // Its mount points are made in directories of the host.
        { path: "/home/user/deep/below", hostPath: temporaryDirectory() },
      ];
      const vm = await boot({ ids: "range", user, home, mounts });
      const script =
        "id -u; id -g; stat -c '%u %g' own; cat own; echo more >> own; mkdir -p new/deeper; echo x > new/file";
      const numbers = { user: [1000, 1000], root: [0, 0], "33:44": [33, 44] }[user];
      for (const [inside, host] of [
        ["/home/user", home],
        ["/mnt/x", mounted],
      ]) {
        const [uid, gid] = numbers;
        expect(await output(vm, script, { cwd: inside })).toBe(`${uid}\n${gid}\n${uid} ${gid}\nown`);
        expect(owners(path.join(host, "own"))).toEqual({ uid: OWNER, gid: OWNER, mode: 0o600 });
        for (const name of ["new", "new/file"]) {
          expect(owners(path.join(host, name))).toMatchObject({ uid: OWNER, gid: OWNER });
        }
        expect(fs.readFileSync(path.join(host, "own"), "utf8")).toBe("ownmore\n");
        await vm.writeFile(`${inside}/by-call`, "x");
        expect(owners(path.join(host, "by-call"))).toMatchObject({ uid: OWNER, gid: OWNER });
        await vm.delete(`${inside}/new`, { recursive: true });
        expect(fs.existsSync(path.join(host, "new"))).toBe(false);
      }
      expect(owners(path.join(home, "deep"))).toMatchObject({ uid: OWNER, gid: OWNER });
      await output(vm, "ls /home/user/deep/below");
    });

    test.each(["user", "root"])("nobody gives files of the host away when the default user is %s", async (user) => {
      const host = shared();
      const vm = await boot({ ids: "range", user, home: host });
      for (const other of ["root", "user", "33:33"]) {
        const found = await vm.exec(
          `cd /home/user; for id in 33 0 1000 65534 :33 :0 :1000 33:33; do chown $id own 2> /dev/null; chown -h $id own 2> /dev/null; done
          touch made-${other === "33:33" ? "other" : other}; mkdir dir; ln -s x link; mkfifo fifo; mknod null c 1 3
          cat secret; echo x > secret; echo x > read; chmod 777 secret read; chown ${other.split(":")[0]} secret read`,
          { user: other, cwd: "/" },
        );
        expect(found.stdout).toBe("");
        await vm.exec("cd /home/user; rm -rf dir link fifo null");
      }
      const found = fs.readdirSync(host).filter((name) => !["read", "secret"].includes(name));
      expect(found.sort()).toEqual([`made-${user}`, "own"]);
      for (const name of found) expect(owners(path.join(host, name))).toMatchObject({ uid: OWNER, gid: OWNER });
      for (const name of ["read", "secret"]) {
        expect(owners(path.join(host, name))).toMatchObject({ uid: OWNER + 1, gid: OWNER + 1 });
        expect(fs.readFileSync(path.join(host, name), "utf8")).toBe(name);
      }
    });

    test.each([OWNER, 0])("no set-id file and no file capability is made on the host for owner %d", async (owner) => {
      const host = temporaryDirectory();
      fs.chmodSync(host, 0o755);
      fs.chownSync(host, owner, owner);
      for (const [name, mode] of [
        ["program", 0o755],
        ["set-id", 0o6755],
      ]) {
        fs.writeFileSync(path.join(host, name), "#!/bin/sh\n");
        fs.chownSync(path.join(host, name), owner, owner);
        fs.chmodSync(path.join(host, name), mode);
      }
      for (const user of ["user", "root"]) {
        const vm = await boot({ ids: "range", user, home: host });
        for (const as of ["user", "root"]) {
          const script = `
try: os.chdir("/home/user")
except PermissionError: os.chdir("/")
tries = {}
for mode in (0o4755, 0o2755, 0o6755):
    tries[f"chmod {mode:o}"] = attempt(lambda: os.chmod("program", mode))
    tries[f"open {mode:o}"] = attempt(lambda: os.open("opened", os.O_CREAT | os.O_WRONLY, mode))
word = lambda value: value.to_bytes(4, "little")
for uid in (None, 0, 1000, 65535):
    words = [0x02000001 if uid is None else 0x03000001, 1 << 21 | 1 << 13, 0, 0, 0] + ([] if uid is None else [uid])
    value = b"".join(map(word, words))
    tries[f"capability {uid}"] = attempt(lambda: os.setxattr("program", "security.capability", value))
print(json.dumps(tries))`;
          const found = await asUser(vm, as, script);
          expect(Object.keys(found)).toHaveLength(10);
          for (const answer of Object.values(found))
            expect(answer).toMatch(/^(EPERM|EINVAL|EACCES|EOVERFLOW|ENOENT|EROFS)$/);
        }
        await vm.exec("echo written > /home/user/set-id", { user });
        expect(owners(path.join(host, "set-id"))).toEqual({ uid: owner, gid: owner, mode: 0o755 });
        fs.chmodSync(path.join(host, "set-id"), 0o6755);
        expect(extendedAttributes(path.join(host, "program"))).toBe("[]\n");
        expect(owners(path.join(host, "program"))).toEqual({ uid: owner, gid: owner, mode: 0o755 });
      }
    });

    test("places in a mount stay protected from root inside", async () => {
      const host = shared();
      fs.mkdirSync(path.join(host, "closed"));
      fs.chownSync(path.join(host, "closed"), OWNER, OWNER);
      const mounts = [{ path: "/work", hostPath: host, readOnly: false, protect: ["closed/", "missing"] }];
      const vm = await boot({ ids: "range", user: "root", mounts });
      const script =
        "cd /work; touch closed/x; mv closed other; rm -rf closed; echo x > missing; chown 33 closed; chmod 777 closed";
      expect((await vm.exec(script)).exitCode).not.toBe(0);
      expect(owners(path.join(host, "closed"))).toEqual({ uid: OWNER, gid: OWNER, mode: 0o755 });
      expect(fs.readdirSync(path.join(host, "closed"))).toEqual([]);
      expect(fs.readFileSync(path.join(host, "missing"), "utf8")).toBe("");
      await output(vm, "echo x > /work/free");
    });
  } else {
    test("a writable directory of the host is refused, and gets a single id by default", async () => {
      const hostPath = temporaryDirectory();
      for (const options of [{ home: hostPath }, { mounts: [{ path: "/mnt/x", hostPath, readOnly: false }] }]) {
        const refused = await rejection(AgentVm.create({ ...options, ids: "range" }));
        expect(refused).toMatchObject({
          code: "ISOLATION_UNAVAILABLE",
          message: expect.stringContaining("ordinary user"),
        });
        expect((await boot({ ...options, user: "root" })).enforcement.ids).toBe("single");
      }
    });
  }
}

/** Runs Python as a user, and resolves to the JSON that it prints. */
function asUser(vm, user, script) {
  const execFile = (program, arguments_) => vm.execFile(program, arguments_, { user, cwd: "/" });
  return pythonJson({ execFile }, {}, script);
}

/**
 * Again and again, a thread asks for a set-id mode of a file of root's, and another one executes a set-user-id program of root's,
 * which takes over the number of the process. Prints whether calls were made and programs executed, and whether a call succeeded.
 */
const RACE = `
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
static int *counts;
static void *execute(void *delay) {
    usleep((long)delay);
    execl("/as-root", "as-root", "wait", NULL);
    return 0;
}
int main(int count, char **arguments) {
    if (strcmp(arguments[1], "wait") == 0) { usleep(500); return geteuid() == 0 ? 7 : 8; }
    counts = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int executed = 0;
    for (int turn = 0; turn < atoi(arguments[1]); turn++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread; pthread_create(&thread, 0, execute, (void *)(long)(turn % 40 * 10));
            for (;;) {
                counts[0] = 1;
                if (chmod("/target", 04755) == 0) counts[1] = 1;
            }
        }
        int status; waitpid(pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 7) executed = 1;
    }
    printf("%d %d %d\\n", counts[0], executed, counts[1]);
    return 0;
}`;
