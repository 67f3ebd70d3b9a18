"use strict";
// /sys in a VM as a target: a way up to the host's cgroups, to its devices, or to a file that can be written.

const fs = require("node:fs");
const path = require("node:path");
const { ownDirectories } = require("../fixture/cgroups");
const { python } = require("../fixture/guest-programs");
const { boot } = require("../fixture/vm");
const { heldLimits } = require("../fixture/limits");

/** Without limits, and with the limits that this host can enforce: only then are their cgroups mounted in the VM. */
const kinds = ["without limits", "with limits"];
let limits;
beforeAll(() => {
  limits = heldLimits(2 ** 27);
});
const bootKind = (kind) => boot(kind === "with limits" ? { limits } : {});

/** Every name below /sys that can be listed. */
const WALK = `
def everything():
    for root, directories, files in os.walk("/sys", onerror=lambda error: None):
        yield root
        for name in directories + files: yield os.path.join(root, name)
`;

describe.each(kinds)("%s", (kind) => {
  test("nothing below /sys can be written, made, removed, renamed or given another mode or owner", async () => {
    const vm = await bootKind(kind);
    // A root with a single id gets that answer, and nothing changes.
    const ownersSeemToChange = vm.enforcement.ids === "single";
    const lines = await python(
      vm,
      `${WALK}
allowed = {errno.EROFS, errno.EACCES, errno.EPERM}
count = 0
def must_fail(label, what, *args):
    try:
        result = what(*args)
    except OSError as error:
        if error.errno not in allowed: print(label, errno.errorcode[error.errno])
    else:
        print(label, "worked", result)
for name in everything():
    count += 1
    is_directory = os.path.isdir(name)
    if not is_directory:
        must_fail("write " + name, os.open, name, os.O_WRONLY)
        must_fail("read and write " + name, os.open, name, os.O_RDWR)
        must_fail("truncate " + name, os.truncate, name, 0)
        must_fail("remove " + name, os.unlink, name)
    else:
        must_fail("make in " + name, os.mkdir, name + "/made")
        must_fail("create in " + name, os.open, name + "/made", os.O_WRONLY | os.O_CREAT)
        must_fail("link in " + name, os.symlink, "/", name + "/made")
        must_fail("remove " + name, os.rmdir, name)
    must_fail("rename " + name, os.rename, name, name + "2")
    must_fail("chmod " + name, os.chmod, name, 0o777)
${ownersSeemToChange ? "" : '    must_fail("chown " + name, os.chown, name, 1000, 1000)'}
    must_fail("utime " + name, os.utime, name)
    must_fail("setxattr " + name, os.setxattr, name, "user.x", b"1")
print("looked at", count > 50)`,
    );
    expect(lines).toEqual(["looked at True"]);
  });

  test("a descriptor or a magic link of /proc does not make a file writable that is not", async () => {
    const vm = await bootKind(kind);
    const lines = await python(
      vm,
      `${WALK}
reached = 0
for name in everything():
    if os.path.isdir(name): continue
    for flags in (os.O_RDONLY, os.O_PATH):
        try: fd = os.open(name, flags)
        except OSError: continue
        for again in (f"/proc/self/fd/{fd}", f"/dev/fd/{fd}", f"/proc/thread-self/fd/{fd}", f"/proc/self/root{name}", f"/proc/1/root{name}"):
            reached += 1
            try: os.close(os.open(again, os.O_WRONLY)); print("wrote", again, name)
            except OSError: pass
        os.close(fd)
print("reached", reached > 100)`,
    );
    expect(lines).toEqual(["reached True"]);
  });

  test("nothing leads up and out: not .. of any directory, nor of a descriptor, nor of a working directory", async () => {
    const vm = await bootKind(kind);
    const lines = await python(
      vm,
      `${WALK}
root = os.stat("/")
def identity(found): return (found.st_dev, found.st_ino)
inside = {identity(os.stat(name)) for name in everything() if os.path.isdir(name)} | {identity(root)}
looked = 0
for name in everything():
    if not os.path.isdir(name): continue
    try: fd = os.open(name, os.O_PATH | os.O_DIRECTORY)
    except OSError: continue
    os.fchdir(fd)
    for level in range(12):
        try: above = os.open("..", os.O_PATH | os.O_DIRECTORY)
        except OSError as error: print(name, level, errno.errorcode[error.errno]); break
        if identity(os.fstat(above)) not in inside: print("outside", name, level)
        os.fchdir(above)
        os.close(above)
        looked += 1
    if identity(os.stat(".")) != identity(root): print("not at the root", name)
    os.close(fd)
print("looked", looked > 100)`,
    );
    expect(lines).toEqual(["looked True"]);
  });

  test("no device, no socket, no FIFO, no link, and no name of a host device", async () => {
    const vm = await bootKind(kind);
    const lines = await python(
      vm,
      `${WALK}
import stat
for name in everything():
    mode = os.lstat(name).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)): print("kind", name, oct(mode))
for name in ("block", "bus", "class/block", "dev/block"):
    print(name, os.listdir("/sys/" + name))
print(sorted(os.listdir("/sys")), sorted(os.listdir("/sys/devices")), sorted(os.listdir("/sys/devices/system")))
for name in ("class/net", "class/dmi", "firmware", "kernel", "module", "power", "hypervisor", "fs/bpf", "fs/pstore"):
    if os.path.lexists("/sys/" + name): print("there", name)`,
    );
    expect(lines).toEqual([
      "block []",
      "bus []",
      "class/block []",
      "dev/block []",
      "['block', 'bus', 'class', 'dev', 'devices', 'fs'] ['system'] ['cpu', 'node']",
    ]);
  });

  test("no release_agent, and no directory of another VM, of the server or of the host", async () => {
    const vm = await bootKind(kind);
    const other = await bootKind(kind);
    await other.exec("sleep 1000 &");
    const lines = await python(
      vm,
      `${WALK}
for name in everything():
    base = os.path.basename(name)
    if base == "release_agent" or base.startswith("agent-vm"): print(name)
for name in ("/proc/self/cgroup", "/proc/1/cgroup", "/proc/self/mountinfo"):
    for line in open(name):
        # Other mounts are of directories on the host that may be called so.
        if "agent-vm" in line and (name.endswith("cgroup") or " - cgroup" in line): print(name, line)
print(sorted({os.path.basename(name) for name in everything() if os.path.isdir(name) and "family" in name}))`,
    );
    const families = lines.pop();
    expect(lines).toEqual([]);
    // Only the reader's own family, in each hierarchy that has families.
    expect(families).toMatch(/^\[('family-\d+')?(, 'family-\d+')*\]$/);
  });

  test("the processes that a cgroup lists are the VM's own", async () => {
    const vm = await bootKind(kind);
    const lines = await python(
      vm,
      `${WALK}
own = {int(name) for name in os.listdir("/proc") if name.isdigit()}
for name in everything():
    if os.path.basename(name) in ("tasks", "cgroup.procs", "cgroup.threads"):
        try: pids = [int(line) for line in open(name)]
        except OSError: continue
        # 0 is a process outside.
        if not set(pids) <= own: print(name, pids)
print("done")`,
    );
    expect(lines).toEqual(["done"]);
  });
});

test("a VM cannot mount a cgroup hierarchy, nor sysfs, nor change the mounts that it has", async () => {
  const vm = await boot({ limits });
  const lines = await python(
    vm,
    `
MS_REMOUNT, MS_BIND = 32, 4096
os.mkdir("/tmp/place")
for kind in (b"cgroup", b"cgroup2", b"sysfs"):
    attempt(kind.decode(), libc.mount, b"none", b"/tmp/place", kind, 0, None)
attempt("remount", libc.mount, b"none", b"/sys", None, MS_REMOUNT | MS_BIND, None)
attempt("unmount", libc.umount2, b"/sys", 2)
attempt("bind", libc.mount, b"/sys", b"/tmp/place", None, MS_BIND, None)
attempt("unshare", libc.unshare, 0x02000000)`,
  );
  for (const line of lines) expect(line).toMatch(/ (EPERM|EINVAL|ENOSYS)$/);
  expect(lines).toHaveLength(7);
});

test("a lock on the directory that a server's lease is on cannot be had inside", async () => {
  const vm = await boot({ limits });
  const lines = await python(
    vm,
    `
import fcntl
for point in [line.split(" ")[4] for line in open("/proc/self/mountinfo") if " - cgroup" in line]:
    try: fd = os.open(point, os.O_RDONLY)
    except PermissionError: continue
    for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
        try: fcntl.flock(fd, kind | fcntl.LOCK_NB); print("locked", point)
        except BlockingIOError: pass
print("done")`,
  );
  expect(lines).toEqual(["done"]);
});

test("what a VM does leaves nothing of it in the host's cgroups", async () => {
  const names = () =>
    ownDirectories()
      .flatMap((directory) => fs.readdirSync(directory).map((name) => path.join(directory, name)))
      .filter((name) => path.basename(name).startsWith("made"));
  const vm = await boot({ limits });
  await vm.exec("find /sys -type d -exec mkdir {}/made \\; 2>/dev/null; mkdir -p /sys/fs/cgroup/memory/../made");
  expect(names()).toEqual([]);
});
