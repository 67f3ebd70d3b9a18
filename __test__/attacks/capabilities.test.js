"use strict";
// Programs of the VM's root that carry capabilities or a set-id bit on the disk: a process inside that runs them gets nothing that
// root of the VM lacks.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("../fixture/directory");
const { python } = require("../fixture/guest-programs");
const { hasRange } = require("../fixture/subordinate");
const { boot, output } = require("../fixture/vm");

const isRoot = process.getuid() === 0;

/** What root has in each kind of VM. */
const OF_ROOT = { single: 0n, range: 0x2004_05fbn };

/** Every capability that a file can carry, with and without the flag that makes them effective. */
const FILES = { "busybox-permitted": "00000002", "busybox-effective": "01000002", "busybox-inheritable": "00000002" };

/**
 * Writes capabilities of a file, as root of a user namespace where the server's user is not root: the kernel then notes that they
 * count for the server's user, who is root in a VM with a single id.
 */
function giveCapabilities(file, revision, inheritable) {
  const all = "ffffffff";
  const [permitted, inherited] = inheritable ? ["00000000", all] : [all, "00000000"];
  const value = [revision, permitted, inherited, "ff010000", "00000000"].join("");
  const script = `import os, sys; os.setxattr(sys.argv[1], "security.capability", bytes.fromhex(sys.argv[2]))`;
  const command = ["python3", "-c", script, file, value];
  execFileSync(...(isRoot ? [command[0], command.slice(1)] : ["unshare", ["--user", "--map-root-user", ...command]]));
}

function rootWithCapableFiles() {
  const root = temporaryDirectory();
  fs.chmodSync(root, 0o755);
  fs.mkdirSync(path.join(root, "bin"));
  fs.mkdirSync(path.join(root, "etc"));
  fs.writeFileSync(path.join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n");
  for (const name of ["busybox", "sh", "busybox-set-id", ...Object.keys(FILES)]) {
    fs.copyFileSync("/usr/bin/busybox", path.join(root, "bin", name));
    fs.chmodSync(path.join(root, "bin", name), name === "busybox-set-id" ? 0o6755 : 0o755);
  }
  for (const [name, revision] of Object.entries(FILES)) {
    giveCapabilities(path.join(root, "bin", name), revision, name.endsWith("inheritable"));
  }
  return root;
}

/** The sets of a process that the kernel may let it use. */
function usable(status) {
  const set = (name) => BigInt(`0x${new RegExp(`^${name}:\\t(.*)$`, "m").exec(status)[1]}`);
  return ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(set);
}

const kinds = hasRange() ? ["single", "range"] : ["single"];

test.each(kinds)("no file gives a program a capability that root lacks, with %s ids", async (ids) => {
  const vm = await boot({ rootfs: rootWithCapableFiles(), user: "root", ids });
  const refused = new Set();
  const gained = [];
  let ran = 0;
  for (const user of ["root", "user"]) {
    for (const name of ["busybox", "busybox-set-id", ...Object.keys(FILES)]) {
      const { stdout, exitCode } = await vm.exec(`/bin/${name} cat /proc/self/status`, { user, cwd: "/" });
      if (exitCode === 0) ran++;
      else refused.add(name);
      if (exitCode === 0 && usable(stdout).some((set) => set & ~OF_ROOT[ids])) gained.push([user, name, stdout]);
    }
  }
  expect(gained).toEqual([]);
  expect(ran).toBeGreaterThanOrEqual(8);
  // With the effective flag, the kernel does not run what would not get all that the file names.
  expect(["", "busybox-effective"]).toContain([...refused].join());
  expect(await output(vm, "echo alive")).toBe("alive\n");
});

test.each(kinds)("no program raises its inheritable or ambient set beyond that, with %s ids", async (ids) => {
  const vm = await boot({ user: "root", ids });
  const most = OF_ROOT[ids];
  const lines = await python(
    vm,
    `
SETUID, KEEP_CAPS, SET_SECUREBITS, NO_NEW_PRIVS, AMBIENT = 7, 8, 28, 38, 47
libc.prctl.argtypes = [ctypes.c_ulong] * 5
def sets(): return {name: int(value, 16) for name, value in (line.split(":") for line in open("/proc/self/status") if line.startswith("Cap"))}
def capset(effective, permitted, inheritable):
    low, high = (lambda mask: mask & 0xffffffff), (lambda mask: mask >> 32)
    data = (ctypes.c_uint32 * 6)(*(part(mask) for part in (low, high) for mask in (effective, permitted, inheritable)))
    libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), data)
for value in (0, 1 << 4, 1 << 6): libc.prctl(SET_SECUREBITS, value, 0, 0, 0)
libc.prctl(KEEP_CAPS, 1, 0, 0, 0)
libc.prctl(NO_NEW_PRIVS, 0, 0, 0, 0)
before = sets()
for capability in range(41):
    bit = 1 << capability
    for masks in ((0, 0, bit), (0, bit, 0), (bit, bit, bit), (0, bit, bit)):
        capset(*(mask | before["CapPrm"] for mask in masks))
        capset(*masks)
        capset(before["CapEff"], before["CapPrm"], before["CapInh"])
    libc.prctl(AMBIENT, 2, capability, 0, 0)
    now = sets()
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        if now[name] & ~${most}: print("gained", name, capability)
    os.setresuid(0, 0, 0)
pid = os.fork()
if pid == 0: os.execv("/bin/sh", ["sh", "-c", "cat /proc/self/status"])
os.waitpid(pid, 0)`,
  );
  expect(lines.filter((line) => line.startsWith("gained"))).toEqual([]);
  for (const set of usable(lines.join("\n"))) expect(set & ~most).toBe(0n);
});
