"use strict";
// Private directories of the VM in addition to the home and /tmp.
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");

test("directories are empty, belong to the user and are writable, and a command runs in them", async () => {
  const vm = await boot({ directories: ["/workspace", "/app/", "//srv//data"] });
  expect(await output(vm, "stat -c '%n %a %U %F' /workspace /app /srv/data; ls -A /workspace /app /srv/data")).toBe(
    "/workspace 755 user directory\n/app 755 user directory\n/srv/data 755 user directory\n/app:\n\n/srv/data:\n\n/workspace:\n",
  );
  await vm.writeFile("/workspace/src/a", "text");
  await vm.move("/workspace/src", "/app/src");
  const options = { cwd: "/app/src", env: { MORE: "1" } };
  expect(await output(vm, "pwd; cat a; chmod +x a; ln -s a b; mkdir c; mv c /workspace/c; ls", options)).toBe(
    "/app/src\ntexta\nb\n",
  );
  expect((await vm.exec("touch /x /srv/x")).stderr.match(/Read-only file system/g)).toHaveLength(2);
  expect(await rejection(vm.delete("/workspace", { recursive: true }))).toMatchObject({
    code: expect.stringMatching(/EBUSY|EROFS/),
  });
});

test("no two VMs share a directory, and a VM that asks for none has none", async () => {
  const one = await boot({ directories: ["/workspace"] });
  await output(one, "echo secret > /workspace/file");
  const two = await boot({ directories: ["/workspace"] });
  expect(await two.readdir("/workspace")).toEqual([]);
  const none = await boot();
  expect(await none.exists("/workspace")).toBe(false);
  const other = await boot({ directories: ["/app"] });
  expect([await other.exists("/workspace"), await other.exists("/app")]).toEqual([false, true]);
});

test("files in directories count towards limits.diskBytes, together with all other private files", async () => {
  const diskBytes = 8 * 1024 * 1024;
  const vm = await boot({ directories: ["/workspace", "/app"], limits: { diskBytes } });
  await vm.writeFile("/workspace/big", Buffer.alloc(6 * 1024 * 1024, "x"));
  for (const place of ["/workspace", "/app", "/tmp", "/home/user"]) {
    await expect(vm.writeFile(`${place}/more`, Buffer.alloc(4 * 1024 * 1024, "x"))).rejects.toMatchObject({
      code: "ENOSPC",
    });
    await vm.delete(`${place}/more`);
  }
  await vm.delete("/workspace/big");
  await vm.writeFile("/app/more", Buffer.alloc(4 * 1024 * 1024, "x"));
  // Nor can empty files use more kernel memory than that.
  const made = await vm.exec("cd /workspace && seq 1 5000 | xargs touch");
  expect(made.stderr).toContain("No space left on device");
});

test("a mount may be below a directory, but not above it or in its place", async () => {
  const shown = temporaryDirectory();
  fs.writeFileSync(path.join(shown, "file"), "of the host\n");
  const vm = await boot({ directories: ["/workspace"], mounts: [{ path: "/workspace/lib", hostPath: shown }] });
  expect(await output(vm, "cat /workspace/lib/file; echo own > /workspace/file; ls /workspace")).toBe(
    "of the host\nfile\nlib\n",
  );
  for (const place of ["/workspace", "/data"]) {
    const mounts = [{ path: place, hostPath: shown, readOnly: false }];
    const error = await rejection(AgentVm.create({ directories: ["/workspace", "/data/own"], mounts }));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toMatch(/^directories\[[01]\] must not be, or be below, mounts\[0\]\.path/);
  }
  expect(fs.readdirSync(shown)).toEqual(["file"]);
});

test("a path where no directory can be is refused, with the reason", async () => {
  const many = Array.from({ length: 33 }, (_, n) => `/d${n}`);
  const wrong = [
    ["/workspace", "must be an array of absolute paths"],
    [{}, "must be an array of absolute paths"],
    [[1], "directories[0] must be a string"],
    [[undefined], "directories[0] must be a string"],
    [["workspace"], "directories[0] must be an absolute path"],
    [["/a\0"], "must not contain a NUL byte"],
    [["/ok", "/a/../b"], 'directories[1] must be a path without "." and ".."'],
    [["/a/."], 'must be a path without "." and ".."'],
    [["/a", "/a"], "directories[0] must not be, or be below, directories[1]"],
    [["/a", "/a/b"], "directories[1] must not be, or be below, directories[0]"],
    [["/a/b", "//a//"], "directories[0] must not be, or be below, directories[1]"],
    [many, "must be at most 32 directories, not 33"],
    [[`/${"x/".repeat(2048)}`], "directories[0] must be a path of at most 4095 bytes, not 4096"],
    [[`/${"x".repeat(2 ** 24)}`], "directories[0] must be a path of at most 4095 bytes, not 16777217"],
    ...[
      "/",
      "///",
      "/home",
      "/home/user",
      "/home/user/x",
      "/usr",
      "/usr/local/x",
      "/bin",
      "/lib64/x",
      "/etc",
      "/etc/x",
    ],
    ...[
      "/proc",
      "/proc/1",
      "/sys",
      "/sys/x",
      "/dev",
      "/dev/shm",
      "/run",
      "/run/lock",
      "/tmp",
      "/tmp/x",
      "/var",
      "/var/x",
    ],
    ...["/opt", "/opt/node", "/opt/node/bin", "/opt/agent-vm/x", "/opt/node/explain", "/boot"],
  ].map((entry) =>
    typeof entry === "string" && entry !== "/workspace" ? [[entry], "which belongs to the system"] : entry,
  );
  for (const [directories, message] of wrong) {
    const error = await rejection(AgentVm.create({ directories }));
    expect([directories, error.code, error.message]).toEqual([
      directories,
      "INVALID_ARGUMENT",
      expect.stringContaining(message),
    ]);
  }
  const most = await boot({ directories: many.slice(1) });
  expect(await output(most, "for d in /d[0-9]*; do echo > $d/x || exit; done; ls -d /d[0-9]* | wc -l")).toBe("32\n");
});

test.each(["landlock", "none"])(
  "at the level %s, where nothing can be mounted, they are refused",
  async (isolation) => {
    const error = await rejection(AgentVm.create({ isolation, directories: ["/workspace"] }));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toMatch(
      /^directories needs isolation "namespaces": under "(landlock|none)" the VM sees the host's own root/,
    );
  },
);

describe("with a rootfs", () => {
  let rootfs;
  beforeAll(() => {
    rootfs = muslRoot(fs.mkdtempSync(path.join(require("node:os").tmpdir(), "agent-vm-root-")));
    fs.chmodSync(rootfs, 0o755);
    fs.mkdirSync(path.join(rootfs, "workspace"));
    fs.writeFileSync(path.join(rootfs, "workspace/of-the-root"), "");
    fs.mkdirSync(path.join(rootfs, "srv"));
    fs.symlinkSync("srv", path.join(rootfs, "link"));
  });
  afterAll(() => fs.rmSync(rootfs, { recursive: true }));

  test("directories appear in the root and hide what it has there", async () => {
    const vm = await boot({ rootfs, directories: ["/workspace", "/app", "/srv/data"] });
    expect(
      await output(vm, "for d in /workspace /app /srv/data; do ls -A $d; echo x > $d/file; stat -c %U $d; done"),
    ).toBe("user\nuser\nuser\n");
    expect(fs.readdirSync(path.join(rootfs, "workspace"))).toEqual(["of-the-root"]);
    expect(fs.readdirSync(rootfs)).not.toContain("app");
  });

  test("a directory behind a link in the root is refused", async () => {
    const error = await rejection(AgentVm.create({ rootfs, directories: ["/link/data"] }));
    expect(error).toMatchObject({ code: expect.stringMatching(/^(ELOOP|ENOTDIR)$/), path: "/link/data" });
  });
});
