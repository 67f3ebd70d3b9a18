"use strict";
// Modes with a set-user-id or set-group-id bit: free on the VM's own files, where they have no effect; on directories of the host
// set-group-id directories alone.

const { execFileSync, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { descendants } = require("./fixture/processes");
const { boot, output } = require("./fixture/vm");

const python = (script) => `python3 - <<'end'\nimport os, tarfile\n${script}\nend\n:`;

/** Makes a package with a set-user-id program and a set-group-id directory. */
const PACKAGE = `mkdir -p made/DEBIAN made/usr/bin made/var/shared
printf 'Package: made\\nVersion: 1\\nArchitecture: all\\nMaintainer: n <n@example.com>\\nDescription: d\\n' > made/DEBIAN/control
cp /bin/true made/usr/bin/program`;
const MODES = "chmod 4755 made/usr/bin/program; chmod 2775 made/var/shared; dpkg-deb -Znone -b made made.deb >&2";

/** Unpacks the package with dpkg, in a separate dpkg database. */
const UNPACK = `mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; touch root/var/lib/dpkg/status root/var/lib/dpkg/available
PATH=$PATH:/usr/sbin:/sbin dpkg --force-not-root,bad-path --log=/dev/null --root=$PWD/root --unpack made.deb >&2`;

/** Programs that set such modes, each in a new directory, and the modes that `stat` then shows. */
const WORKS_IN_OWN = {
  "git init --shared=group": ["git init -q --shared=group r && stat -c %a r/.git/objects", "2775"],
  "mkdir -m 2775": ["mkdir -m 2775 d && mkdir d/e && stat -c %a d d/e", "2775 2755"],
  chmod: ["cp /bin/true f && for m in 4755 6755 2755 u+s; do chmod $m f && stat -c %a f; done", "4755 6755 2755 6755"],
  "cp -p and cp -a": [
    "cp /bin/true f && chmod 6755 f && cp -p f g && mkdir d && chmod 7777 d && cp -a d e && stat -c %a g e",
    "6755 7777",
  ],
  install: ["install -m 4755 /bin/true f && stat -c %a f", "4755"],
  "tar -p": [
    `${PACKAGE}; ${MODES}; tar -C made -cf all.tar usr var; mkdir t && tar -C t -xpf all.tar && stat -c %a t/usr/bin/program t/var/shared`,
    "4755 2775",
  ],
  "Python's tarfile": [
    `${PACKAGE}; ${MODES}; tar -C made -cf all.tar usr var; ${python('tarfile.open("all.tar").extractall("t")')}; stat -c %a t/usr/bin/program`,
    "4755",
  ],
  "dpkg-deb -x": [
    `${PACKAGE}; ${MODES}; dpkg-deb -x made.deb t && stat -c %a t/usr/bin/program t/var/shared`,
    "4755 2775",
  ],
  "dpkg --unpack": [`${PACKAGE}; ${MODES}; ${UNPACK}; stat -c %a root/usr/bin/program root/var/shared`, "4755 2775"],
};

/** The mode is given when the file is made. */
const MADE_WITH = "os.close(os.open('new', os.O_CREAT | os.O_WRONLY, 0o4755)); os.mknod('node', 0o102755)";

const KINDS = {
  "a VM that shows nothing of the host": () => ({}),
  "a VM with a home on the host": () => ({ home: temporaryDirectory() }),
  "a VM with a writable mount": () => ({
    mounts: [{ path: "/mnt/host", hostPath: temporaryDirectory(), readOnly: false }],
  }),
  "a VM with the host's network": () => ({ network: "host" }),
};

describe.each(Object.keys(KINDS))("in %s", (kind) => {
  test("programs set set-id modes on the VM's own files", async () => {
    const vm = await boot(KINDS[kind]());
    for (const [name, [script, modes]] of Object.entries(WORKS_IN_OWN)) {
      const printed = await output(vm, `cd $(mktemp -d) && ${script}`);
      expect({ name, modes: printed.trim().replaceAll("\n", " ") }).toEqual({ name, modes });
    }
  });
});

test("where no file can be on the host, a file may be made with a set-id mode at once", async () => {
  const vm = await boot();
  expect(await output(vm, `cd /tmp; umask 0; ${python(MADE_WITH)}; stat -c %a new node`)).toBe("4755\n2755\n");
});

test("where a file can be on the host, no file may be made with a set-id mode", async () => {
  const vm = await boot({ home: temporaryDirectory() });
  for (const where of ["/tmp", "/home/user"]) {
    const { stderr, stdout } = await vm.exec(`${python(MADE_WITH)}; ls new node`, { cwd: where });
    expect(stderr).toContain("PermissionError: [Errno 1]");
    expect(stdout).toBe("");
  }
});

test("on a host directory, directories may be set-group-id, and nothing else set-id", async () => {
  const [home, mounted] = [temporaryDirectory(), temporaryDirectory()];
  const vm = await boot({ home, mounts: [{ path: "/mnt/host", hostPath: mounted, readOnly: false }] });
  for (const [inside, host] of [
    ["/home/user", home],
    ["/mnt/host", mounted],
  ]) {
    await output(vm, "git init -q --shared=group r; mkdir -m 2775 d; mkdir e; chmod 3777 e", { cwd: inside });
    const modes = ["r/.git", "r/.git/objects", "d", "e"].map(
      (name) => fs.statSync(path.join(host, name)).mode & 0o7777,
    );
    expect(modes).toEqual([0o2775, 0o2775, 0o2775, 0o3777]);

    const unpacked = await vm.exec(
      `(${PACKAGE}; cd made; chmod 2775 var/shared); cd /tmp; rm -rf made; ${PACKAGE}; ${MODES}
      tar -C made -cf all.tar usr var; cd ${inside}; mkdir t; tar -C t -xpf /tmp/all.tar`,
      { cwd: inside },
    );
    expect(unpacked).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("program: Cannot change mode to rwsr-xr-x"),
    });
    const program = fs.statSync(path.join(host, "t/usr/bin/program")).mode & 0o7777;
    expect([program, fs.statSync(path.join(host, "t/var/shared")).mode & 0o7777]).toEqual([0o755, 0o2775]);

    for (const command of [
      "chmod 4755 d",
      "chmod 6755 d",
      "chmod 2755 t/usr/bin/program",
      "chmod u+s t/usr/bin/program",
    ]) {
      const { exitCode, stderr } = await vm.exec(command, { cwd: inside });
      expect({ command, exitCode, stderr }).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining("not permitted"),
      });
    }
  }
});

test("a program that nobody may trace keeps its descriptors to itself, and is refused", async () => {
  const vm = await boot({ home: temporaryDirectory() });
  const script = `
import ctypes
os.close(os.open("/tmp/file", os.O_CREAT | os.O_WRONLY, 0o755))
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
try: os.chmod("/tmp/file", 0o4755)
except OSError as error: print(error.errno)`;
  expect(await output(vm, python(script))).toBe("1\n");
});

/** Makes a set-id program in /tmp of a VM, and finds it from the host through the root of the VM's init. */
async function program(vm) {
  await output(vm, "cp /usr/bin/id /tmp/id; chmod 6755 /tmp/id");
  const [init] = descendants(process.pid).filter(({ name }) => name === "agent-vm-init");
  return `/proc/${init.pid}/root/tmp/id`;
}

test("a set-id program of the VM's own has no effect inside", async () => {
  const vm = await boot();
  await program(vm);
  const script = "/tmp/id -u; grep NoNewPrivs /proc/self/status; findmnt -no OPTIONS /tmp | tr , '\\n' | grep suid";
  expect(await output(vm, script)).toBe("1000\nNoNewPrivs:\t1\nnosuid\n");
});

if (process.getuid() === 0) {
  test("a set-id program of the VM runs as the VM's user when the host executes it", async () => {
    const file = await program(await boot());
    const { uid, mode } = fs.statSync(file);
    expect({ isRoot: uid === 0, mode: mode & 0o7777 }).toEqual({ isRoot: false, mode: 0o6755 });
    for (const flag of ["-u", "-g"]) expect(execFileSync(file, [flag], { encoding: "utf8" })).toBe("0\n");
  });
} else {
  test("a set-id program of the VM cannot be reached by host programs", async () => {
    const file = await program(await boot());
    expect(spawnSync(file, ["-u"]).error.code).toMatch(/^(EACCES|ENOENT)$/);
  });
}
