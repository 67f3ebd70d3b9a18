"use strict";
// Snapshots of what a VM has written, rollback to them, and forks.

const fs = require("node:fs");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { rejection, until } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { boot, disposeAfter, output } = require("./fixture/vm");

/** A tree with everything that a file system may have. */
const MAKE = `
cd; mkdir -p tree/deep/empty tree/replaced tree/"odd name" && cd tree
echo text > file; chmod 640 file; echo run > program; chmod 755 program
ln -s file link; ln -s /nowhere dangling; ln file second; mkfifo fifo
printf 'a\\nb' > 'odd name/new
line'; printf 'x' > $(printf 'latin\\351')
truncate -s 50M sparse; printf end >> sparse
python3 -c 'import os; os.setxattr("file", "user.note", b"kept")' 2>/dev/null
echo old > replaced/a; echo old > replaced/b; touch -d '2001-02-03 04:05:06.789' file deep program
chmod 1770 deep; chmod 000 deep/empty; echo shared > /tmp/shared; echo other > /var/tmp/other
`;

/** Changes all of it. */
const CHANGE = `
cd ~/tree; chmod 755 deep/empty; rm -r replaced; mkdir replaced; echo new > replaced/c; mv file renamed; echo new > file
rm second link; ln -s program link; chmod 600 program; echo more >> program; rm -r deep; echo file > deep
truncate -s 10 sparse; rm fifo; echo new > new; rm /tmp/shared; echo changed > /var/tmp/other; mkdir /tmp/made
`;

/** Describes it, byte by byte. */
const DESCRIBE = `
cd ~ && find . /tmp /var/tmp -mindepth 1 ! -path ./tree/latin* -printf '%p|%y|%m|%n|%s|%T@|%l|%U:%G\\n' | sort
find tree /tmp /var/tmp -type f -readable | sort | xargs -d '\\n' sha256sum; ls -b tree
du -k tree/sparse | cut -f1 | awk '{ print ($1 < 1000) }'
python3 -c 'import os; print(os.listxattr("tree/file"))' 2>/dev/null; stat -c %i tree/second tree/file | uniq | wc -l
`;

async function listed() {
  return (await AgentVm.snapshots.list()).map(({ id }) => id);
}

test("a rollback brings back exactly what was there", async () => {
  const vm = await boot();
  await output(vm, MAKE);
  const before = await output(vm, DESCRIBE);
  const snapshot = await vm.snapshot({ name: "before" });
  expect(await output(vm, DESCRIBE)).toBe(before);
  await output(vm, CHANGE);
  expect(await output(vm, DESCRIBE)).not.toBe(before);
  const changed = await vm.snapshot();
  const after = await output(vm, DESCRIBE);
  await vm.rollback(snapshot);
  expect(await output(vm, DESCRIBE)).toBe(before);
  await vm.rollback(changed.id);
  expect(await output(vm, DESCRIBE)).toBe(after);
  expect([snapshot.name, snapshot.parent, changed.name, changed.parent]).toEqual(["before", null, null, snapshot.id]);
  expect(snapshot.bytes).toBeGreaterThan(0);
  expect(Math.abs(Date.now() - snapshot.createdAt)).toBeLessThan(600_000);
  const all = await AgentVm.snapshots.list();
  expect(all.filter(({ id }) => [snapshot.id, changed.id].includes(id))).toEqual([snapshot, changed]);
  await AgentVm.snapshots.remove(snapshot);
  await AgentVm.snapshots.remove(changed.id);
});

test("a VM goes on after a snapshot: its files, its ended processes, its shells' numbers and its counts", async () => {
  const vm = await boot();
  const first = await vm.spawn("sh", ["-c", "echo printed; exit 3"]);
  await vm.waitProcess(first.pid);
  const shell = await vm.openShell({ command: "true" });
  await vm.waitShell(shell.shellId);
  await vm.exec("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done");
  const { bytesOut, cpuMs } = await vm.stats();
  expect(cpuMs).toBeGreaterThan(0);
  await vm.snapshot();
  await until(async () => (await vm.stats()).cpuMs >= cpuMs);
  expect((await vm.readProcessOutput(first.pid)).chunks.map(({ data }) => String(data)).join("")).toBe("printed\n");
  expect((await vm.listProcesses()).map(({ pid, exitCode }) => [pid, exitCode])).toEqual([[first.pid, 3]]);
  const next = await vm.openShell({ command: "true" });
  expect(next.shellId).not.toBe(shell.shellId);
  await vm.waitShell(next.shellId);
  expect((await vm.stats()).bytesOut).toBeGreaterThanOrEqual(bytesOut);
  // Events come from what runs now.
  const opened = new Promise((resolve) => vm.once("portOpened", resolve));
  await vm.snapshot();
  const server = await vm.spawn("python3", ["-m", "http.server", "8080"]);
  expect(await opened).toMatchObject({ port: 8080, pid: server.pid });
  await vm.killProcess(server.pid);
});

test("calls made meanwhile wait, and reach the VM over the snapshot", async () => {
  const vm = await boot();
  await vm.writeFile("/home/user/f", "kept");
  const made = await Promise.all([
    vm.snapshot(),
    vm.exec("cat f; echo more >> f"),
    vm.readFile("/home/user/f"),
    vm.snapshot().catch(({ code }) => code),
  ]);
  expect(made[1].stdout).toBe("kept");
  // The second one comes before the command, or while it runs, when not every VM can be frozen.
  expect(["ISOLATION_UNAVAILABLE", "object"]).toContain(typeof made[3] === "object" ? "object" : made[3]);
  expect(await output(vm, "cat f")).toBe("keptmore\n");
});

test("VMs begin with a snapshot, each with its own writes, and its options unless others are given", async () => {
  const vm = await boot({ env: { COLOR: "red" }, hostname: "first", directories: ["/data"] });
  await output(
    vm,
    "echo base > f; echo data > /data/d; mkdir d; echo x > d/x; echo gone > /run/r; echo gone > /dev/shm/s",
  );
  const from = await vm.snapshot();
  const [one, two] = await Promise.all([
    AgentVm.create({ from }),
    AgentVm.create({ from: from.id, hostname: "second", env: { COLOR: "blue" } }),
  ]);
  disposeAfter(one);
  disposeAfter(two);
  const look = "cat f /data/d d/x; hostname; echo $COLOR; ls /run/r /dev/shm/s 2>/dev/null";
  expect(await output(one, `${look}; id -un; stat -c %U f`)).toBe("base\ndata\nx\nfirst\nred\nuser\nuser\n");
  expect((await two.exec(look)).stdout).toBe("base\ndata\nx\nsecond\nblue\n");
  await output(one, "echo one > f; rm -r d; echo one > /data/d");
  await output(two, "echo two > f; mv d e; echo two >> /data/d");
  await vm.dispose();
  expect(await output(one, "cat f /data/d; ls")).toBe("one\none\nf\n");
  expect(await output(two, "cat f /data/d; ls; cat e/x")).toBe("two\ndata\ntwo\ne\nf\nx\n");
  const third = disposeAfter(await AgentVm.create({ from }));
  expect(await output(third, "cat f; ls d")).toBe("base\nx\n");
  await AgentVm.snapshots.remove(from);
  expect(await output(third, "cat f d/x; echo more > g; cat g")).toBe("base\nx\nmore\n");
  expect((await rejection(AgentVm.create({ from }))).code).toBe("SNAPSHOT_NOT_FOUND");
  expect((await rejection(third.rollback(from))).code).toBe("SNAPSHOT_NOT_FOUND");
  expect((await rejection(AgentVm.snapshots.remove(from))).code).toBe("SNAPSHOT_NOT_FOUND");
});

test("forks begin with what was written, and their VM goes on", async () => {
  const vm = await boot();
  const before = await listed();
  await output(vm, "echo 0 > n");
  const forks = (await vm.fork(5)).map(disposeAfter);
  expect(forks).toHaveLength(5);
  await Promise.all(forks.map((fork, index) => output(fork, `echo ${index + 1} >> n`)));
  await output(vm, "echo own >> n");
  const found = await Promise.all([vm, ...forks].map((one) => output(one, "cat n")));
  expect(found).toEqual(["0\nown\n", "0\n1\n", "0\n2\n", "0\n3\n", "0\n4\n", "0\n5\n"]);
  const [grandchild] = (await forks[0].fork()).map(disposeAfter);
  expect(await output(grandchild, "cat n")).toBe("0\n1\n");
  expect(await listed()).toEqual(before);
  // A fork of a fork descends from no snapshot that a caller knows.
  const snapshot = await grandchild.snapshot();
  expect(snapshot.parent).toBe(null);
  await AgentVm.snapshots.remove(snapshot);
});

test("a rollback needs a VM in which nothing runs, and no snapshot is made while files are open", async () => {
  const vm = await boot();
  await vm.writeFile("/home/user/f", "x");
  const from = await vm.snapshot();
  const refused = async () => (await rejection(vm.rollback(from))).code;

  const { pid } = await vm.spawn("sleep", ["600"]);
  expect(await refused()).toBe("VM_BUSY");
  await vm.killProcess(pid);
  await vm.waitProcess(pid);

  const { background } = await vm.exec("sleep 600 > /dev/null 2>&1 &");
  expect(await refused()).toBe("VM_BUSY");
  await vm.killProcess(background[0].pid);
  await until(async () => (await vm.allProcesses()).length === 0);

  const running = vm.exec("sleep 0.5; echo done");
  expect(await refused()).toBe("VM_BUSY");
  expect((await running).stdout).toBe("done\n");

  const { shellId } = await vm.openShell({ command: "cat" });
  expect(await refused()).toBe("VM_BUSY");
  await vm.closeShell(shellId);

  const { contextId } = await vm.createContext();
  expect(await refused()).toBe("VM_BUSY");
  await vm.deleteContext(contextId);

  const watcher = vm.watch("/home/user");
  await watcher.ready;
  expect(await refused()).toBe("VM_BUSY");
  await watcher.return();

  const stream = vm.createReadStream("/home/user/f");
  await new Promise((resolve) => stream.once("readable", resolve));
  expect([await refused(), (await rejection(vm.snapshot())).code]).toEqual(["VM_BUSY", "VM_BUSY"]);
  stream.destroy();

  const writing = vm.writeFile("/home/user/f", Buffer.alloc(1 << 24));
  expect((await rejection(vm.fork(2))).code).toBe("VM_BUSY");
  await writing;
  await vm.rollback(from);
  expect(await output(vm, "cat f")).toBe("x");
  await AgentVm.snapshots.remove(from);
});

test("a rollback with kill ends what runs, and reports it", async () => {
  const vm = await boot();
  await output(vm, "echo kept > f");
  const from = await vm.snapshot();
  await output(vm, "echo lost > f");
  const exits = [];
  vm.on("processExit", ({ pid, reason }) => exits.push([pid, reason]));
  vm.on("shellExit", ({ shellId, reason }) => exits.push([shellId, reason]));
  const { pid } = await vm.spawn("sh", ["-c", "while :; do echo x > f; done"]);
  const { shellId } = await vm.openShell({ command: "cat" });
  const { contextId } = await vm.createContext();
  const running = vm.exec("sleep 600");
  running.catch(() => {});
  await vm.rollback(from, { kill: true });
  expect(exits.sort()).toEqual(
    [
      [pid, "disposed"],
      [shellId, "disposed"],
    ].sort(),
  );
  expect((await rejection(running)).code).toBe("VM_DISPOSED");
  expect(await output(vm, "cat f; sleep 0.1; cat f")).toBe("kept\nkept\n");
  expect(await vm.allProcesses()).toEqual([]);
  expect(vm.activeCount).toBe(0);
  expect((await rejection(vm.getContext(contextId))).code).toBe("CONTEXT_NOT_FOUND");
  await AgentVm.snapshots.remove(from);
});

test("a root that the caller brought is kept with what was written to it", async () => {
  const rootfs = muslRoot(temporaryDirectory());
  const vm = await boot({ rootfs, user: "root", ids: "single" });
  await output(
    vm,
    "echo new > /etc/new; rm /etc/release; mkdir -p /opt/x; echo x > /opt/x/x; echo '127.0.0.1 mine' >> /etc/hosts",
  );
  const from = await vm.snapshot();
  await output(vm, "rm -r /opt/x /etc/new; echo back > /etc/release");
  const look = "cat /etc/new /opt/x/x; ls /etc/release; tail -n 1 /etc/hosts";
  const [fork] = (await vm.fork()).map(disposeAfter);
  await vm.rollback(from);
  expect((await vm.exec(look)).stdout).toBe("new\nx\n127.0.0.1 mine\n");
  expect(await output(fork, "cat /etc/release; ls /opt; ls /etc/new 2>/dev/null || true")).toBe("back\n");
  const other = disposeAfter(await AgentVm.create({ from }));
  expect((await other.exec(look)).stdout).toBe("new\nx\n127.0.0.1 mine\n");
  expect(fs.existsSync(`${rootfs}/etc/new`)).toBe(false);
  const another = muslRoot(temporaryDirectory());
  const refused = [
    await rejection(AgentVm.create({ from, rootfs: another })),
    await rejection(AgentVm.create({ from, ids: "range" })),
    await rejection((await boot()).rollback(from)),
  ];
  expect(refused.map(({ code }) => code)).toEqual(["INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]);
  await AgentVm.snapshots.remove(from);
});

test("what a VM shows of the host is shown again, and is not part of a snapshot", async () => {
  const [home, shared, outside] = [temporaryDirectory(), temporaryDirectory(), temporaryDirectory()];
  fs.mkdirSync(`${shared}/below`);
  fs.writeFileSync(`${outside}/secret`, "secret");
  const mounts = [{ path: "/srv/shared", hostPath: shared, readOnly: false, protect: ["kept"] }];
  const vm = await boot({ home, mounts });
  // A directory that the VM can write to is held while it is opened; a VM that takes its place opens it again.
  const below = await boot({ mounts: [{ path: "/srv/below", hostPath: `${shared}/below` }] });
  await output(vm, "echo host > ~/f; echo host > /srv/shared/f; echo vm > /tmp/f");
  const from = await vm.snapshot();
  await below.exec("echo x > /tmp/x");
  const belowFrom = await below.snapshot();
  expect(await output(below, "ls -a /srv/below | wc -l; cat /tmp/x")).toBe("2\nx\n");
  await output(vm, "echo later > ~/f; echo later > /srv/shared/f; echo later > /tmp/f");
  await vm.rollback(from);
  expect(await output(vm, "cat ~/f /srv/shared/f /tmp/f")).toBe("later\nlater\nvm\n");
  expect((await vm.exec("echo x > /srv/shared/kept")).exitCode).not.toBe(0);
  await output(vm, "rmdir /srv/shared/below");
  fs.symlinkSync(outside, `${shared}/below`);
  const refused = [await rejection(below.rollback(belowFrom)), await rejection(AgentVm.create({ from: belowFrom }))];
  expect(refused.map(({ code }) => code)).toEqual(["ENOTDIR", "ENOTDIR"]);
  expect(await output(below, "cat /tmp/x")).toBe("x\n");
  for (const one of [from, belowFrom]) await AgentVm.snapshots.remove(one);
});

test("a snapshot of a VM that has written nothing costs nothing, and the least change is a change", async () => {
  const rootfs = muslRoot(temporaryDirectory());
  const vm = await boot({ rootfs, user: "root", ids: "single" });
  await output(vm, "mkdir -p /home/user/d /opt/d; echo x > /tmp/f; chmod 755 / /opt/d");
  const first = await vm.snapshot();
  const same = await vm.snapshot();
  expect([same.parent, same.bytes]).toEqual([first.id, 0]);
  const look = "stat -c '%n %a %Y' / /opt/d /home/user /home/user/d /tmp /tmp/f; ls -a / /opt /home/user /tmp";
  const before = await output(vm, look);
  const kept = [];
  for (const change of [
    "chmod 700 /",
    "touch -d '2001-02-03 04:05:06' /",
    "touch /x; rm /x",
    "chmod 700 /opt/d",
    "chmod 711 /home/user",
    "touch -d '2001-02-03 04:05:06' /home/user/d",
    "rm /tmp/f",
    "chmod 600 /tmp/f",
    "touch /home/user/x; rm /home/user/x",
    "chmod 755 /tmp",
  ]) {
    await output(vm, change);
    const changed = await output(vm, look);
    const snapshot = await vm.snapshot();
    await vm.rollback(same);
    const back = await output(vm, look);
    await vm.rollback(snapshot);
    kept.push([change, back === before, (await output(vm, look)) === changed]);
    await vm.rollback(first);
    await AgentVm.snapshots.remove(snapshot);
  }
  expect(kept).toEqual(kept.map(([change]) => [change, true, true]));
  for (const one of [first, same]) await AgentVm.snapshots.remove(one);
});

test("arguments that cannot be are refused", async () => {
  const vm = await boot();
  const errors = [
    await rejection(vm.snapshot({ name: "" })),
    await rejection(vm.snapshot({ name: "a\nb" })),
    await rejection(vm.snapshot({ title: "a" })),
    await rejection(vm.rollback()),
    await rejection(vm.rollback({})),
    await rejection(vm.rollback("x", { kill: 1 })),
    await rejection(vm.fork(0)),
    await rejection(vm.fork(1001)),
    await rejection(vm.fork(-1)),
    await rejection(vm.fork(1.5)),
    await rejection(vm.fork(NaN)),
    await rejection(vm.fork("2")),
    await rejection(vm.snapshot({ name: "x".repeat(2 ** 20) })),
    await rejection(vm.snapshot({ name: "a\0b" })),
    await rejection(vm.rollback({ id: { toString: () => "x" } })),
    await rejection(AgentVm.create({ from: 1 })),
    await rejection(AgentVm.create({ from: {} })),
  ];
  expect(errors.map(({ code }) => code)).toEqual(errors.map(() => "INVALID_ARGUMENT"));
  const unknown = [await rejection(vm.rollback("x")), await rejection(vm.rollback({ id: "__proto__" }))];
  expect(unknown.map(({ code }) => code)).toEqual(["SNAPSHOT_NOT_FOUND", "SNAPSHOT_NOT_FOUND"]);
  await vm.dispose();
  const gone = [await rejection(vm.snapshot()), await rejection(vm.fork())];
  expect(gone.map(({ code }) => code)).toEqual(["VM_DISPOSED", "VM_DISPOSED"]);
  const none = await boot({ isolation: "none" });
  expect((await rejection(none.snapshot())).code).toBe("ISOLATION_UNAVAILABLE");
});

test("removed snapshots give everything back", async () => {
  const open = () => fs.readdirSync("/proc/self/fd").length;
  const vm = await boot();
  await vm.exec("true");
  const before = open();
  const made = [];
  for (let number = 0; number < 64; number++) {
    await vm.writeFile("/home/user/n", `${number}`);
    made.push(await vm.snapshot());
  }
  await vm.rollback(made[0]);
  expect(await output(vm, "cat n")).toBe("0");
  for (const snapshot of made) await AgentVm.snapshots.remove(snapshot);
  // The VM itself has one layer below it.
  await until(() => open() <= before + 2);
}, 60_000);

test("what an earlier VM has left at a path leads no directory of a later one elsewhere", async () => {
  const vm = await boot({ directories: ["/data"] });
  await output(vm, "ln -s /home/user /data/x; mkdir /data/y; ln -s / /data/y/z");
  const from = await vm.snapshot();
  const codes = [];
  for (const path of ["/data/x", "/data/x/y", "/data/y/z/tmp/w"]) {
    codes.push((await rejection(AgentVm.create({ from, directories: [path] }))).code);
  }
  expect(codes).toEqual(["ENOTDIR", "ELOOP", "ELOOP"]);
  await AgentVm.snapshots.remove(from);
});
