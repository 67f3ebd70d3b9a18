"use strict";
// A VM's own files in a directory of the host.

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { AgentVm } = require("..");
const { afterTest } = require("./fixture/cleanup");
const { rejection, until } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { nodeScript } = require("./fixture/server-process");
const { boot, output } = require("./fixture/vm");

const isRoot = process.getuid() === 0;

/** A new directory for disks. */
function disks() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-disks-"));
  afterTest(() => execFileSync("rm", ["-rf", directory]));
  return directory;
}

const on = (directory, name, options) => ({ disk: { directory, name }, limits: { diskBytes: null }, ...options });

/** A server in another process, with a VM that runs a command and stays. */
const server = (options, command) =>
  nodeScript(`
    const vm = await AgentVm.create(${JSON.stringify(options)}).catch(({ code }) => console.log(code));
    if (vm === undefined) return;
    console.log((await vm.exec(${JSON.stringify(command)})).stdout.trim());
    setInterval(() => {}, 1000);`);

test("what a VM writes is on the host's disk, and the next VM with that name has it", async () => {
  const directory = disks();
  const first = await boot(on(directory, "one", { directories: ["/data"] }));
  await output(
    first,
    "umask 0; mkdir -p a/b; echo x > a/b/f; ln a/b/f a/g; ln -s g a/h; chmod 600 a/g; touch -d '2001-02-03 04:05:06' a/b; chmod 0 a/b; " +
      "mkfifo /tmp/p; echo data > /data/d; echo gone > /run/r; echo gone > /dev/shm/s; truncate -s 1G sparse",
  );
  const look = "ls -lR --time-style=full-iso /home/user /tmp /data; stat -c '%h %i' a/g; du sparse";
  const before = await output(first, look);
  expect(first.enforcement.diskBytes).toBe(null);
  expect((await first.stats()).disk).toBe(undefined);
  const files = path.join(directory, "one/files/kept/home/user");
  expect(fs.readFileSync(path.join(files, "a/g"), "utf8")).toBe("x\n");
  await first.dispose();
  const second = await boot(on(directory, "one", { directories: ["/data"] }));
  expect(await output(second, look)).toBe(before);
  expect((await second.exec("ls /run/r /dev/shm/s")).stdout).toBe("");
  await output(second, "chmod 700 a/b; rm -r a sparse; echo y > y");
  await second.dispose();
  const third = await boot(on(directory, "one"));
  expect(await output(third, "ls; ls /tmp; id -un; stat -c %U y")).toBe("y\np\nuser\nuser\n");
});

test("it has more room than files in memory by default", async () => {
  const directory = disks();
  const vm = await boot(on(directory));
  expect(await output(vm, "head -c 1200M /dev/zero > large; stat -c %s large; rm large")).toBe(`${1200 * 2 ** 20}\n`);
});

test("one VM has a named disk, of this server and of others", async () => {
  const directory = disks();
  const vm = await boot(on(directory, "one"));
  await output(vm, "echo x > f");
  const error = await rejection(AgentVm.create(on(directory, "one")));
  expect([error.code, error.message.includes('"one"')]).toEqual(["DISK_IN_USE", true]);
  const other = await boot(on(directory, "two"));
  expect(await output(other, "ls")).toBe("");
  const elsewhere = server(on(directory, "one"), "cat f");
  expect(await elsewhere.line()).toBe("DISK_IN_USE");
  await elsewhere.ended;
  await vm.dispose();
  const next = await boot(on(directory, "one"));
  expect(await output(next, "cat f")).toBe("x\n");
});

test("a disk is free only when nothing of its VM runs any more, also after a server that was killed", async () => {
  const directory = disks();
  const seen = [];
  for (let round = 0; round < 5; round++) {
    const writers = "for n in 1 2 3 4 5 6 7 8 9; do (while :; do echo x > n$n; done) & done; echo ready; exit";
    const killed = server(on(directory, `d${round}`), `${writers} > /tmp/out; sleep 0.1; cat /tmp/out`);
    expect(await killed.line()).toBe("ready");
    killed.child.kill("SIGKILL");
    let vm;
    await until(async () => {
      vm = await boot(on(directory, `d${round}`)).catch(({ code }) => seen.push(code) && undefined);
      return vm !== undefined;
    });
    await output(vm, "rm -f n*; sleep 0.1");
    expect(await output(vm, "ls")).toBe("");
  }
  expect(seen.filter((code) => code !== "DISK_IN_USE")).toEqual([]);
});

test("a disk without a name ends with its VM, or with the next one if the server was killed", async () => {
  const directory = disks();
  const vm = await boot(on(directory));
  await output(vm, "mkdir -p a/b; echo x > a/b/c; chmod 0 a");
  expect(fs.readdirSync(directory).filter((name) => name.startsWith(".vm-"))).toHaveLength(1);
  await vm.dispose();
  expect(fs.readdirSync(directory)).toEqual([".lock"]);
  const killed = server(on(directory), "echo kept > f; mkdir -p a/b; chmod 0 a; echo ready");
  expect(await killed.line()).toBe("ready");
  const named = server(on(directory, "named"), "echo kept > f; echo ready");
  expect(await named.line()).toBe("ready");
  for (const one of [killed, named]) {
    one.child.kill("SIGKILL");
    await one.ended;
  }
  const left = fs.readdirSync(directory).filter((name) => name.startsWith(".vm-"));
  expect(left).toHaveLength(1);
  // The kernel ends the VM of a killed server, which has the lock until then.
  await until(async () => {
    const next = await boot(on(directory));
    await next.dispose();
    return !fs.readdirSync(directory).includes(left[0]);
  });
  const again = await boot(on(directory, "named"));
  expect(await output(again, "cat f")).toBe("kept\n");
});

test("changes to a root that the caller brought are on it, and it is for that root", async () => {
  const directory = disks();
  const rootfs = muslRoot(path.join(disks(), "root"));
  const options = on(directory, "one", { rootfs, user: "root", ids: "single" });
  const first = await boot(options);
  await output(
    first,
    "echo new > /etc/new; rm /etc/release; mkdir /opt; echo x > /opt/x; echo '127.0.0.1 mine' >> /etc/hosts",
  );
  await first.dispose();
  const second = await boot(options);
  expect((await second.exec("cat /etc/new /opt/x; ls /etc/release; tail -n 1 /etc/hosts")).stdout).toBe(
    "new\nx\n127.0.0.1 mine\n",
  );
  await second.dispose();
  const { code, message } = await rejection(AgentVm.create(on(directory, "one")));
  expect([code, message.includes("rootfs")]).toEqual(["INVALID_ARGUMENT", true]);
});

if (!isRoot) {
  test("an ordinary user's server refuses a disk for a range of ids", async () => {
    const { code } = await rejection(AgentVm.create(on(disks(), "one", { user: "root", ids: "range" })));
    expect(code).toBe("ISOLATION_UNAVAILABLE");
  });
}

if (isRoot) {
  test("users of a VM are on it, whatever ids the VM has, and none of the host's", async () => {
    const directory = disks();
    const options = on(directory, "one", { user: "root", ids: "range" });
    const first = await boot(options);
    await output(
      first,
      "echo x > f; chown 33:44 f; cp /bin/true s; chmod 6755 s; echo x > /home/user/u; chown user: /home/user/u",
    );
    const files = path.join(directory, "one/files/kept");
    const [uid] = [fs.statSync(path.join(files, "root/s")).uid];
    expect([fs.statSync(path.join(files, "root/s")).mode & 0o6000, uid >= 2 ** 30]).toEqual([0o6000, true]);
    expect(execFileSync("find", [directory, "-user", "0", "-perm", "/6000"], { encoding: "utf8" })).toBe("");
    await first.dispose();
    // Another VM has taken the ids of the first meanwhile.
    await boot({ user: "root", ids: "range" });
    const second = await boot(options);
    expect(await output(second, "stat -c '%u:%g %a' f s /home/user/u")).toBe("33:44 644\n0:0 6755\n1000:1000 644\n");
    await second.dispose();
    const { code } = await rejection(AgentVm.create(on(directory, "one")));
    expect(code).toBe("INVALID_ARGUMENT");
  });

  test("a full disk is ENOSPC for programs, and goes on when there is room", async () => {
    const directory = disks();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "agent-vm-test", directory]);
    afterTest(() => execFileSync("umount", ["--lazy", directory]));
    const vm = await boot(on(directory, "one"));
    const full = await vm.exec("head -c 20M /dev/zero > large");
    expect([full.exitCode === 0, full.stderr.includes("No space left")]).toEqual([false, true]);
    expect((await rejection(vm.writeFile("/home/user/f", Buffer.alloc(2 ** 20)))).code).toBe("ENOSPC");
    await output(vm, "rm large; echo x > f");
    expect(await output(vm, "cat f")).toBe("x\n");
    await vm.dispose();
  });
}

test("a directory that others can change is refused, and snapshots of such a VM are", async () => {
  const directory = disks();
  const codes = async (...options) =>
    (await Promise.all(options.map((one) => rejection(AgentVm.create(one))))).map(({ code }) => code);
  const open = disks();
  fs.chmodSync(open, 0o770);
  fs.writeFileSync(path.join(directory, "file"), "");
  expect(
    await codes(
      on(open),
      on("relative"),
      on(directory, "../x"),
      on(directory, ".x"),
      on(directory, ""),
      { disk: { directory } },
      { disk: { directory }, limits: { diskBytes: 2 ** 30 } },
      { limits: { diskBytes: null } },
      { disk: { directory, size: 1 }, limits: { diskBytes: null } },
      { disk: "disk" },
      on(path.join(directory, "missing")),
      on(path.join(directory, "file")),
      on(directory, "file"),
      { ...on(directory), isolation: "landlock", limits: undefined },
      { ...on(directory), mounts: [{ path: "/srv/x", hostPath: directory, readOnly: false }] },
      { ...on(directory), home: path.dirname(directory) },
    ),
  ).toEqual([
    ...["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
    ...["ISOLATION_UNAVAILABLE", "ISOLATION_UNAVAILABLE", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
    ...["ENOENT", "ENOTDIR", "ENOTDIR", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"],
  ]);
  const shown = await boot({ mounts: [{ path: "/srv/x", hostPath: directory, readOnly: false }] });
  expect(await codes(on(directory))).toEqual(["INVALID_ARGUMENT"]);
  await shown.dispose();
  const vm = await boot(on(directory));
  expect(await codes({ mounts: [{ path: "/srv/x", hostPath: directory, readOnly: false }] })).toEqual([
    "INVALID_ARGUMENT",
  ]);
  const memory = await boot({ disk: "memory" });
  const from = await memory.snapshot();
  const refused = [await rejection(vm.snapshot()), await rejection(vm.fork()), await rejection(vm.rollback(from))];
  expect(refused.map(({ code }) => code)).toEqual(refused.map(() => "ISOLATION_UNAVAILABLE"));
  expect(await codes({ ...on(directory), from })).toEqual(["INVALID_ARGUMENT"]);
  await AgentVm.snapshots.remove(from);
});

test("a link in the directory leads nowhere", async () => {
  const directory = disks();
  const outside = disks();
  fs.symlinkSync(outside, path.join(directory, "link"));
  fs.mkdirSync(path.join(directory, "one"), { mode: 0o700 });
  fs.symlinkSync(outside, path.join(directory, "one/files"));
  fs.mkdirSync(path.join(directory, "two"), { mode: 0o700 });
  fs.symlinkSync(path.join(outside, "made"), path.join(directory, "two/lock"));
  for (const name of ["link", "one", "two"]) {
    expect(["ELOOP", "ENOTDIR", "INVALID_ARGUMENT"]).toContain(
      (await rejection(AgentVm.create(on(directory, name)))).code,
    );
  }
  expect(fs.readdirSync(outside)).toEqual([]);
});
