"use strict";
// Files that lead to the kernel or to the host: /proc, /sys, devices, set-uid programs, the program files themselves.

const fs = require("node:fs");
const { python } = require("../fixture/guest-programs");
const { victim } = require("../fixture/victim");

const attacked = victim();

test("no setting of the kernel's takes a write", async () => {
  // Reads every file of /proc that is not about a process; the files that open at all contain only text and numbers.
  const lines = await python(
    attacked.vm,
    `
took = []
for top in os.listdir("/proc"):
    if top.isdigit() or top in ("self", "thread-self", "net", "mounts"): continue
    start = os.path.join("/proc", top)
    files = [start] if not os.path.isdir(start) else [os.path.join(f, n) for f, _, names in os.walk(start) for n in names]
    for file in files:
        for text in (b"0", b"1", b"c", b"|/home/user/x %P", b"2147483647"):
            try:
                fd = os.open(file, os.O_WRONLY | os.O_NONBLOCK)
                try: os.write(fd, text); took.append(file)
                finally: os.close(fd)
            except OSError: pass
print(sorted(set(took)))`,
  );
  // These files are covered by /dev/null.
  const covered = ["interrupts", "key-users", "keys", "sched_debug"].map((name) => `'/proc/${name}'`).join("|");
  for (const file of lines[0]
    .replace(/[[\] ]/g, "")
    .split(",")
    .filter(Boolean))
    expect(file).toMatch(new RegExp(covered));
});

test("no file shows the kernel's memory, keys, log or addresses", async () => {
  const lines = await python(
    attacked.vm,
    `
for name in ("kcore", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "timer_list", "slabinfo", "vmallocinfo", "pagetypeinfo", "keys", "key-users", "interrupts", "sched_debug", "iomem"):
    try: content = open("/proc/" + name, "rb").read(65536)
    except OSError: content = b""
    if name == "iomem": content = b"".join(l for l in content.splitlines() if not l.strip().startswith(b"00000000-00000000"))
    print(name, len(content))
for name in ("kallsyms", "modules"):
    try: lines = open("/proc/" + name).read(1 << 20).splitlines()
    except OSError: lines = []
    addresses = {l.split()[0] if name == "kallsyms" else l.split()[-1] for l in lines}
    print(name, len([a for a in addresses if a.removeprefix("0x").strip("0") != "" and a[0] in "0123456789abcdef"]))
print("own files", *(n for n in ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/vhost-vsock", "/dev/userfaultfd", "/sys/kernel", "/sys/firmware", "/sys/module", "/sys/class/net", "/proc/1/root/etc", "/var/run/docker.sock", "/run/dbus", "/run/systemd", ${attacked.vm.enforcement.ids === null ? '"/root", ' : ""}"/var/lib/docker", "/var/lib/systemd", "/var/lib/private") if os.path.exists(n)))`,
  );
  expect(lines.slice(0, -1).filter((line) => !line.endsWith(" 0"))).toEqual([]);
  expect(lines.at(-1)).toBe("own files");
});

test("no device is made or found anywhere but the seven that every program expects", async () => {
  const lines = await python(
    attacked.vm,
    `
import stat
for mode, major, minor in ((stat.S_IFBLK, 254, 0), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 1), (stat.S_IFCHR, 10, 200), (stat.S_IFCHR, 5, 1), (stat.S_IFCHR, 0, 0)):
    for directory in ("/home/user", "/tmp", "/dev/shm", "/run"):
        attempt("mknod", os.mknod, directory + "/node", mode | 0o666, os.makedev(major, minor))
found = set()
for directory, directories, files in os.walk("/dev"):
    for name in files:
        s = os.lstat(os.path.join(directory, name))
        if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode): found.add((os.path.join(directory, name), os.major(s.st_rdev), os.minor(s.st_rdev)))
print(sorted(found))`,
  );
  for (const line of lines.slice(0, -1)) expect(line).toBe("mknod EPERM");
  expect(lines.at(-1)).toBe(
    "[('/dev/full', 1, 7), ('/dev/null', 1, 3), ('/dev/pts/ptmx', 5, 2), ('/dev/random', 1, 8), ('/dev/tty', 5, 0), ('/dev/urandom', 1, 9), ('/dev/zero', 1, 5)]",
  );
});

test("no set-uid or set-gid program and no program with file capabilities runs with more rights than its caller", async () => {
  // The loader lists a program's libraries instead of running it, but never for a program that would gain privileges
  // (ld.so(8)).
  const lines = await python(
    attacked.vm,
    `
import subprocess
find = subprocess.run(["find", "/usr", "-xdev", "-type", "f", "-perm", "/6000"], capture_output=True, text=True)
programs = [path for path in find.stdout.splitlines() if os.access(path, os.X_OK)]
for directory in ("/usr/bin", "/usr/sbin"):
    for entry in os.scandir(directory):
        if entry.is_file(follow_symlinks=False) and "security.capability" in os.listxattr(entry.path): programs.append(entry.path)
print(len(programs) > 0)
for path in programs:
    r = subprocess.run([path], env={"LD_TRACE_LOADED_OBJECTS": "1"}, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    if b"libc.so" not in r.stdout: print("ran", path, r.stdout)
print([m.split()[4] for m in open("/proc/self/mountinfo") if "nosuid" not in m.split()[5].split(",")])`,
  );
  expect(lines).toEqual(["True", "[]"]);
});

test("no host program is changed, by whatever path", async () => {
  const before = fs.statSync("/usr/bin/python3.11", { throwIfNoEntry: false }) ?? fs.statSync("/usr/bin/env");
  const lines = await python(
    attacked.vm,
    `
import shutil
program = os.path.realpath("/proc/self/exe")
for path in ("/proc/self/exe", program, "/proc/self/root" + program, f"/proc/{os.getppid()}/exe", "/usr/bin/env", "/bin/sh", "/etc/passwd", "/etc/ld.so.cache", "/lib64/ld-linux-x86-64.so.2"):
    if not os.path.exists(path): continue
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
        attempt("open", os.open, path, flags)
    attempt("truncate", os.truncate, path, 0)
    attempt("chmod", os.chmod, path, 0o777)
    attempt("utime", os.utime, path)
    attempt("attribute", os.setxattr, path, "user.x", b"x")
for path in ("/usr/bin/new", "/new", "/etc/new", "/bin/new"):
    attempt("create", os.open, path, os.O_CREAT | os.O_WRONLY, 0o644)
    attempt("link", os.link, "/home/user/x", path)
    attempt("rename", os.rename, "/usr/bin/env", path)
    attempt("unlink", os.unlink, "/usr/bin/env")
# A descriptor of the file for reading, opened again for writing.
fd = os.open(program, os.O_RDONLY)
attempt("again", os.open, f"/proc/self/fd/{fd}", os.O_WRONLY)
attempt("by way of a path descriptor", os.open, "/proc/self/fd/%d" % os.open(program, os.O_PATH), os.O_RDWR)`,
  );
  expect(lines.filter((line) => line.endsWith("worked"))).toEqual([]);
  const after = fs.statSync("/usr/bin/python3.11", { throwIfNoEntry: false }) ?? fs.statSync("/usr/bin/env");
  expect(after.mtimeMs).toBe(before.mtimeMs);
});

test("no file gets a capability or another owner, but from a root whose ids are real", async () => {
  const lines = await python(
    attacked.vm,
    `
import shutil
shutil.copy("/usr/bin/env", "/home/user/mine")
capability = bytes.fromhex("0000000200200000000000000000000000000000")
attempt("capability", os.setxattr, "/home/user/mine", "security.capability", capability)
attempt("capability of version 3", os.setxattr, "/home/user/mine", "security.capability", bytes.fromhex("0000000300200000000000000000000000000000") + bytes(4))
attempt("trusted", os.setxattr, "/home/user/mine", "trusted.x", b"x")
for owner in ((0, -1), (-1, 0), (65534, 65534), (1001, 1001)):
    attempt("chown", os.chown, "/home/user/mine", *owner)`,
  );
  const { ids } = attacked.vm.enforcement;
  const own = { single: /^chown worked$/, range: /^(chown|capability( of version 3)?) worked$/ }[ids];
  const others = lines.filter((line) => !own?.test(line));
  for (const line of others) expect(line).toMatch(/ (EPERM|EINVAL|ENOTSUP)$/);
  expect(others.length).toBeGreaterThan(0);
  // The program runs with no more than it had.
  const { stdout } = await attacked.vm.exec("/home/user/mine cat /proc/self/status");
  const { stdout: before } = await attacked.vm.exec("cat /proc/self/status");
  const capabilities = (status) => /^CapEff:\t(.*)$/m.exec(status)?.[1];
  expect([capabilities(before), undefined]).toContain(capabilities(stdout));
});

test("a process does not take itself out of the kernel's choice when memory runs out", async () => {
  const lines = await python(
    attacked.vm,
    `
now = int(open("/proc/self/oom_score_adj").read())
def write(value): os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), str(value).encode())
attempt("less", write, now - 1)
attempt("never", write, -1000)`,
  );
  expect(lines).toEqual(["less EACCES", "never EACCES"]);
});
