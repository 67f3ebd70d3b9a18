"use strict";
// The option `mounts[].protect`: places inside a writable mount that stay read-only.

const { execFileSync, spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { descendants, running, withInit } = require("./fixture/processes");
const { rejection, sleep, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, output } = require("./fixture/vm");

/** A directory of the host with these files, and directories where the name ends with a slash. */
function tree(...names) {
  const where = temporaryDirectory();
  for (const name of names) {
    const file = path.join(where, name);
    fs.mkdirSync(name.endsWith("/") ? file : path.dirname(file), { recursive: true });
    if (!name.endsWith("/")) fs.writeFileSync(file, `${name}\n`);
  }
  return where;
}

/** The option `mounts` with one writable mount at /work. */
const work = (hostPath, protect) => [{ path: "/work", hostPath, readOnly: false, protect }];

/** All names below a directory of the host, from which somebody may remove something meanwhile. */
function names(where) {
  try {
    return fs.readdirSync(where, { recursive: true }).sort();
  } catch (error) {
    if (error.code === "ENOENT" && fs.existsSync(where)) return names(where);
    throw error;
  }
}

/** What commands print on standard error in /work, each on a line. All of them must fail. */
async function refusals(vm, ...commands) {
  const results = [];
  for (const command of commands) {
    const { exitCode, stderr } = await vm.exec(command, { cwd: "/work" });
    expect({ command, exitCode }).not.toMatchObject({ exitCode: 0 });
    results.push(/Read-only|busy|cross-device/.exec(stderr)?.[0] ?? stderr);
  }
  return results;
}

test("a protected file and directory are read-only, and the rest of the mount is not", async () => {
  const where = tree("settings.json", "scripts/run", "scripts/deep/more", "src/main");
  const before = names(where);
  const vm = await boot({ mounts: work(where, ["settings.json", "scripts"]) });
  const found = await refusals(
    vm,
    "echo x > settings.json",
    "truncate -s 0 settings.json",
    "chmod 777 settings.json",
    "touch settings.json",
    "rm -f settings.json",
    "mv settings.json other",
    "echo > new && mv new settings.json",
    "ln settings.json link",
    "echo x > scripts/run",
    "echo x > scripts/new",
    "mkdir scripts/deep/new",
    "rm scripts/deep/more",
    "rmdir scripts",
    "mv scripts other",
  );
  expect(found).toEqual([
    ...Array(4).fill("Read-only"),
    ...Array(3).fill("busy"),
    "cross-device",
    ...Array(4).fill("Read-only"),
    ...Array(2).fill("busy"),
  ]);
  expect(
    await output(vm, "cat settings.json scripts/deep/more; echo y > src/new; mv src/main main", { cwd: "/work" }),
  ).toBe("settings.json\nscripts/deep/more\n");
  await vm.dispose();
  expect(names(where)).toEqual([...before, "main", "new", "src/new"].filter((name) => name !== "src/main").sort());
});

test("calls of the API obey protection", async () => {
  const where = tree("closed", "open");
  const vm = await boot({ mounts: work(where, ["closed", "missing"]) });
  await expect(vm.writeFile("/work/closed", "x")).rejects.toMatchObject({ code: "EROFS" });
  await expect(vm.writeFile("/work/missing", "x")).rejects.toMatchObject({ code: "EROFS" });
  await expect(vm.delete("/work/closed")).rejects.toMatchObject({ code: "EBUSY" });
  await expect(vm.move("/work/open", "/work/closed")).rejects.toMatchObject({ code: "EBUSY" });
  await vm.writeFile("/work/open", "x");
  expect(fs.readFileSync(path.join(where, "closed"), "utf8")).toBe("closed\n");
});

test("directories above a protected place cannot be moved, exchanged or removed", async () => {
  const where = tree("a/b/c/place", "other/");
  const vm = await boot({ mounts: work(where, ["a/b/c/place"]) });
  expect(await refusals(vm, "mv a x", "mv a/b y", "mv a/b/c z", "rm -rf a", "mv -T other a")).toEqual(
    Array(5).fill("busy"),
  );
  await output(vm, "echo y > a/b/new && mv a/b/new a/b/newer && rm a/b/newer", { cwd: "/work" });
  expect(fs.readFileSync(path.join(where, "a/b/c/place"), "utf8")).toBe("a/b/c/place\n");
});

test("git works in a repository whose hooks and settings are protected", async () => {
  const where = temporaryDirectory();
  const git = (...words) => execFileSync("git", ["-C", where, ...words], { encoding: "utf8" });
  git("init", "-q", "-b", "main");
  git("config", "user.email", "a@example.org");
  git("config", "user.name", "A");
  const config = fs.readFileSync(path.join(where, ".git/config"), "utf8");
  const vm = await boot({ mounts: work(where, [".git/hooks/", ".git/config"]) });
  await output(vm, "echo x > file && git add file && git commit -qm one && git checkout -qb other && git gc -q", {
    cwd: "/work",
  });
  expect(await refusals(vm, "echo x > .git/hooks/pre-commit", "mv .git x", "git config core.hooksPath /tmp")).toEqual([
    "Read-only",
    "busy",
    "busy",
  ]);
  await vm.dispose();
  expect(git("log", "--all", "--format=%s")).toBe("one\n");
  expect(fs.readFileSync(path.join(where, ".git/config"), "utf8")).toBe(config);
});

test("a place that does not exist stays empty, and nothing of it is left on the host", async () => {
  const where = tree("src/main");
  const vm = await boot({ mounts: work(where, [".bashrc", ".git/hooks/", "src/generated"]) });
  expect(await output(vm, "stat -c '%F %n' .bashrc .git .git/hooks src/generated", { cwd: "/work" })).toBe(
    "regular empty file .bashrc\ndirectory .git\ndirectory .git/hooks\nregular empty file src/generated\n",
  );
  const attempts = ["echo x > .bashrc", "mkdir .git/hooks/x", "rm -f .bashrc", "mv .git x", "ln -sf /etc .bashrc"];
  expect(await refusals(vm, ...attempts)).toEqual(["Read-only", "Read-only", "busy", "busy", "busy"]);
  await vm.dispose();
  expect(names(where)).toEqual(["src", "src/main"]);
});

test("what programs make in a directory that did not exist stays", async () => {
  const where = temporaryDirectory();
  const vm = await boot({ mounts: work(where, [".git/hooks/", ".vscode/tasks.json"]) });
  await output(vm, "git init -q --template= && echo x > file && git add file", { cwd: "/work" });
  await vm.dispose();
  expect(names(where)).toEqual(expect.arrayContaining([".git", ".git/HEAD", "file"]));
  expect(names(where)).not.toContain(".git/hooks");
  expect(names(where)).not.toContain(".vscode");
});

test("a file that somebody on the host writes at a missing place stays", async () => {
  const where = temporaryDirectory();
  const vm = await boot({ mounts: work(where, ["written", "replaced", "touched", "untouched"]) });
  fs.chmodSync(path.join(where, "written"), 0o644);
  fs.writeFileSync(path.join(where, "written"), "of the host");
  fs.writeFileSync(path.join(where, "new"), "");
  fs.renameSync(path.join(where, "new"), path.join(where, "replaced"));
  fs.utimesSync(path.join(where, "touched"), new Date(), new Date());
  await vm.dispose();
  expect(names(where)).toEqual(["replaced", "touched", "written"]);
  expect(fs.readFileSync(path.join(where, "written"), "utf8")).toBe("of the host");
});

test("VMs share a missing place, and it stays closed until the last of them has ended", async () => {
  const where = temporaryDirectory();
  const options = { mounts: work(where, ["a/b", "a/c/"]) };
  const vms = await Promise.all([1, 2, 3, 4].map(() => boot(options)));
  for (const [index, vm] of vms.entries()) {
    expect(await refusals(vm, "echo x > a/b", "mkdir a/c/d", "mv a x")).toEqual(["Read-only", "Read-only", "busy"]);
    await vm.dispose();
    expect(names(where)).toEqual(index === vms.length - 1 ? [] : ["a", "a/b", "a/c"]);
  }
});

test("VMs that share only a directory of their missing places leave nothing", async () => {
  const where = temporaryDirectory();
  const first = await boot({ mounts: work(where, ["a/b/1"]) });
  const second = await boot({ mounts: work(where, ["a/b/2"]) });
  await first.dispose();
  const third = await boot({ mounts: work(where, ["a/b/3", "a/c"]) });
  await second.dispose();
  expect(names(where)).toEqual(["a", "a/b", "a/b/3", "a/c"]);
  await third.dispose();
  expect(names(where)).toEqual([]);
});

test("an empty directory of the host in which missing places were stays", async () => {
  const where = tree("a/b/");
  const first = await boot({ mounts: work(where, ["a/b/1"]) });
  const second = await boot({ mounts: work(where, ["a/b/2/3"]) });
  await first.dispose();
  await second.dispose();
  expect(names(where)).toEqual(["a", "a/b"]);
});

test("VMs that come and go over one directory leave it as it was", async () => {
  const where = temporaryDirectory();
  const options = { mounts: work(where, ["a/b/c", "d"]) };
  const rounds = async () => {
    for (let i = 0; i < 4; i++) {
      const vm = await AgentVm.create(options);
      expect(await refusals(vm, "echo x > a/b/c", "echo x > d")).toEqual(["Read-only", "Read-only"]);
      await vm.dispose();
    }
  };
  await Promise.all([rounds(), rounds(), rounds()]);
  expect(names(where)).toEqual([]);
});

test("a process of the host that holds the lock of the keepers only delays them", async () => {
  const where = temporaryDirectory();
  const holder = spawn("bash", ["-c", "exec 9< /proc/self/ns/pid; flock 9; echo locked; cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  const vm = await boot({ mounts: work(where, ["a/b"]) });
  expect(await refusals(vm, "echo x > a/b")).toEqual(["Read-only"]);
  await vm.dispose();
  expect(names(where)).toEqual([]);
  holder.stdin.end();
  await once(holder, "exit");
});

const holding = (where, protect = ["a/b", "c/"]) => `
  const vm = await AgentVm.create({ mounts: ${JSON.stringify(work(where, protect))} });
  vm.exec("sleep 1000").catch(() => {});
  console.log("ready");`;

test.each(["SIGKILL", "SIGTERM", "SIGINT"])("%s to the server leaves nothing at missing places", async (signal) => {
  const where = temporaryDirectory();
  const server = nodeScript(holding(where));
  await server.line();
  expect(names(where)).toEqual(["a", "a/b", "c"]);
  server.child.kill(signal);
  await server.ended;
  await until(() => names(where).length === 0);
});

test("killing servers while their VMs boot and end leaves nothing at missing places", async () => {
  const where = temporaryDirectory();
  for (let i = 0; i < 3; i++) {
    const server = nodeScript(`
      const options = { mounts: ${JSON.stringify(work(where, ["a/b", "c/"]))} };
      console.log("ready");
      for (;;) await Promise.all([1, 2].map(async () => (await AgentVm.create(options)).dispose()));`);
    await server.line();
    await until(() => names(where).length > 0);
    await sleep(i * 7);
    server.child.kill("SIGKILL");
    await server.ended;
    await until(() => names(where).length === 0);
  }
});

test("a VM whose init is killed leaves nothing at missing places", async () => {
  const where = temporaryDirectory();
  const { vm, init } = await withInit(() => boot({ mounts: work(where, ["a/b"]) }));
  const exited = new Promise((resolve) => {
    vm.once("exit", resolve);
  });
  process.kill(init.pid, "SIGKILL");
  await exited;
  expect(names(where)).toEqual([]);
});

test("a server that was killed takes no place from another server's VM", async () => {
  const where = temporaryDirectory();
  const server = nodeScript(holding(where));
  await server.line();
  const vm = await boot({ mounts: work(where, ["a/b", "c/", "d"]) });
  server.child.kill("SIGKILL");
  await server.ended;
  expect(await refusals(vm, "echo x > a/b", "mkdir c/d", "mv a x")).toEqual(["Read-only", "Read-only", "busy"]);
  await vm.dispose();
  // The other server's keeper may still have had its lock.
  await until(() => names(where).length === 0);
});

test("what a killed keeper leaves is removed with the next VM that protects the place", async () => {
  const where = temporaryDirectory();
  const server = nodeScript(holding(where));
  await server.line();
  const processes = descendants(server.child.pid, { zygote: true });
  process.kill(processes.find(({ name }) => name === "agent-vm-keeper").pid, "SIGKILL");
  server.child.kill("SIGKILL");
  await server.ended;
  await until(() => running(processes).length === 0);
  expect(names(where)).toEqual(["a", "a/b", "c"]);
  const vm = await boot({ mounts: work(where, ["a/b", "c/"]) });
  expect(await refusals(vm, "echo x > a/b", "mkdir c/d")).toEqual(["Read-only", "Read-only"]);
  await vm.dispose();
  expect(names(where)).toEqual([]);
});

test("a create that fails leaves nothing", async () => {
  const where = tree("file");
  fs.symlinkSync("file", path.join(where, "link"));
  const mounts = work(where, ["a/b", "link"]);
  expect(await rejection(AgentVm.create({ mounts }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  const late = [...work(where, ["a/b"]), { path: "/usr/no-such-directory", hostPath: where }];
  expect(await rejection(AgentVm.create({ mounts: late }))).toMatchObject({ code: "EROFS" });
  expect(names(where)).toEqual(["file", "link"]);
});

test("places that cannot be protected are refused with the reason", async () => {
  const where = tree("file", "directory/file", "linked", "deep/x/one");
  fs.symlinkSync("directory", path.join(where, "link"));
  fs.symlinkSync("nowhere", path.join(where, "dangling"));
  fs.linkSync(path.join(where, "linked"), path.join(where, "other"));
  fs.linkSync(path.join(where, "deep/x/one"), path.join(where, "two"));
  execFileSync("mkfifo", [path.join(where, "fifo")]);
  const before = names(where);
  const refused = async (place, words) => {
    const error = await rejection(AgentVm.create({ mounts: work(where, [place]) }));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining(words) });
    expect(error.message).toContain(path.join(where, place.replace(/\/$/, "")));
  };
  await refused("link", "symbolic link");
  await refused("link/file", "symbolic link");
  await refused("dangling", "symbolic link");
  await refused("fifo", "FIFO");
  await refused("file/x", "directories");
  await refused("file/", "directory");
  await refused("linked", "hard links");
  await refused("deep", "hard links");
  expect(names(where)).toEqual(before);
});

test("a missing place in a directory without write permission is refused", async () => {
  const where = tree("closed/");
  fs.chmodSync(path.join(where, "closed"), 0o555);
  // root's own directories are not closed to root.
  if (process.getuid() === 0) fs.chownSync(where, 12_345, 12_345);
  expect(await rejection(AgentVm.create({ mounts: work(where, ["closed/new"]) }))).toMatchObject({
    code: "ISOLATION_UNAVAILABLE",
    message: expect.stringContaining("Permission denied"),
  });
});

test.each(["landlock", "none"])("isolation %s, which cannot hold a place, refuses it", async (isolation) => {
  const where = tree("a");
  expect(await rejection(AgentVm.create({ isolation, mounts: work(where, ["a"]) }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("namespaces"),
  });
});

test("another writable way to a protected place in the same VM is refused", async () => {
  const where = tree("a/b/place", "c/");
  const refused = async (options) => {
    expect(await rejection(AgentVm.create(options))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("/work/a/b/place"),
    });
  };
  const mount = work(where, ["a/b/place", "missing"]);
  const at = (hostPath, more = {}) => ({ path: "/other", hostPath, readOnly: false, ...more });
  await refused({ mounts: [...mount, at(where)] });
  await refused({ mounts: [...mount, at(path.dirname(where))] });
  await refused({ mounts: [...mount, at(path.join(where, "a/b"))] });
  await refused({ mounts: [...mount, at(path.join(where, "a/b/place"))] });
  await refused({ mounts: mount, home: where });
  const both = await boot({
    mounts: [
      ...mount,
      at(where, { protect: ["a/b/place", "missing"] }),
      { path: "/read", hostPath: where },
      { path: "/c", hostPath: path.join(where, "c"), readOnly: false },
    ],
  });
  expect(await refusals(both, "echo x > a/b/place", "echo x > /other/a/b/place", "echo x > /other/missing")).toEqual(
    Array(3).fill("Read-only"),
  );
  await both.dispose();
  expect(names(where)).toEqual(["a", "a/b", "a/b/place", "c"]);
});

test("mounts nest beside protected places", async () => {
  const [where, other] = [tree("a/b/place", "a/c/"), tree("file")];
  const mounts = [...work(where, ["a/b/place"]), { path: "/work/a/c", hostPath: other, readOnly: false }];
  const vm = await boot({ mounts });
  expect(await output(vm, "cat a/c/file && echo > a/c/new && echo > a/new", { cwd: "/work" })).toBe("file\n");
  expect(await refusals(vm, "echo x > a/b/place", "mv a x")).toEqual(["Read-only", "busy"]);
  expect(names(other)).toEqual(["file", "new"]);
});

test.each([
  ["a read-only mount", { protect: ["a"], readOnly: true }, "readOnly"],
  ["a mount that is read-only by default", { protect: ["a"] }, "readOnly"],
  ["what is no array", { protect: "a", readOnly: false }, "mounts[0].protect must be an array"],
  ["an absolute path", { protect: ["/a"], readOnly: false }, "mounts[0].protect[0]"],
  ["the mount itself", { protect: ["a", ""], readOnly: false }, "mounts[0].protect[1]"],
  ["a path with ..", { protect: ["a/../b"], readOnly: false }, "mounts[0].protect[0]"],
  ["a NUL", { protect: ["a\0"], readOnly: false }, "NUL"],
  ["a hole", { protect: Array.from({ length: 1 }), readOnly: false }, "mounts[0].protect[0]"],
  ["too many", { protect: Array(65).fill("a"), readOnly: false }, "at most 64"],
  ["a name that no file system has", { protect: ["x".repeat(256)], readOnly: false }, "255"],
])("create refuses protect with %s", async (_, mount, words) => {
  expect(await rejection(AgentVm.create({ mounts: [{ path: "/data", hostPath: "/tmp", ...mount }] }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining(words),
  });
});

test.each(["/work/a", "/work/a/b", "/work/a/b/c"])(
  "another mount at %s, which would hide a place, is refused",
  async (at) => {
    const where = tree("a/b/");
    const mounts = [...work(where, ["a/b"]), { path: at, hostPath: where }];
    expect(await rejection(AgentVm.create({ mounts }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("mounts[1].path"),
    });
  },
);
