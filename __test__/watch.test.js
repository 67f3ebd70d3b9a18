"use strict";
// Watching files of the VM.

const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("./fixture/directory");
const { Mirror, once, takeUntil } = require("./fixture/mirror");
const { rejection, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot, bootForFile, output } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

let directories = 0;
/** A new directory with what `command` makes in it, and a watch of it. */
async function watched(options = { recursive: true }, command = "true", place = vm) {
  const top = `/home/user/w${directories++}`;
  await output(place, `mkdir ${top}; cd ${top}; ${command}`);
  const watcher = place.watch(top, options);
  await watcher.ready;
  return { top, watcher };
}

/** What a command in the directory causes, and "created" of its file `.end`. */
async function caused({ top, watcher }, command, place = vm) {
  await output(place, `cd ${top}; ${command}; echo > .end`);
  const events = once(await takeUntil(watcher, `${top}/.end`));
  await output(place, `mv ${top}/.end ${top}/.last`);
  for (;;) {
    const { value } = await watcher.next();
    if (value.type === "renamed") return events.slice(0, -1).map((event) => shown(event, top));
  }
}

function shown({ type, path: at, from, code }, top) {
  const short = (each) => each.replace(`${top}/`, "").replace(top, ".");
  return [type, short(at), from && short(from), code].filter(Boolean).join(" ");
}

test("each kind of change is reported with its type and its path", async () => {
  const place = await watched();
  expect(await caused(place, "echo 1 > f")).toEqual(["created f", "changed f"]);
  expect(await caused(place, "echo 2 >> f")).toEqual(["changed f"]);
  expect(await caused(place, "chmod 600 f")).toEqual(["changed f"]);
  expect(await caused(place, "ln f g; ln -s /etc l; mkfifo p")).toEqual(["created g", "created l", "created p"]);
  expect(await caused(place, "mv f h")).toEqual(["renamed h f"]);
  expect(await caused(place, "mv h p")).toEqual(["renamed p h"]);
  expect(await caused(place, "mkdir d; chmod 700 d")).toEqual(["created d", "changed d"]);
  expect(await caused(place, "mv g d/f; echo 3 > d/f; mv d e; echo 4 > e/f")).toEqual([
    "renamed d/f g",
    "changed d/f",
    "renamed e d",
    "changed e/f",
  ]);
  expect(await caused(place, "mv e/f ../f; mv ../f k")).toEqual(["removed e/f", "created k"]);
  expect(await caused(place, "rm k; rmdir e")).toEqual(["removed k", "removed e"]);
  expect(await caused(place, "touch $(printf 'a\\377')")).toEqual(["created a\ufffd", "changed a\ufffd"]);
  expect(await caused(place, "cat l/hostname > /dev/null; chmod 711 .")).toEqual(["changed ."]);
});

test("without `recursive` only what is in the directory is reported, and of a file only the file", async () => {
  const place = await watched({}, "mkdir d; echo 1 > f");
  expect(await caused(place, "touch d/x; rm d/x; mkdir e; touch e/x; mv e/x y")).toEqual(["created e", "created y"]);
  const file = vm.watch(`${place.top}/f`);
  await file.ready;
  await output(vm, `cd ${place.top}; touch x; echo 2 > f; rm f`);
  const events = [];
  for await (const event of file) events.push(event);
  expect(once(events).map((event) => shown(event, place.top))).toEqual(["changed f", "removed f"]);
});

test.each([1, 2, 3, 4, 5, 6])(
  "a list that is kept by the events alone stays right, whatever changes: seed %i",
  async (seed) => {
    const program = fs.readFileSync(path.join(__dirname, "fixture/random-changes.py"));
    await vm.writeFile("/home/user/random-changes.py", program);
    const { top, watcher } = await watched();
    const mirror = new Mirror();
    const events = takeUntil(watcher, `${top}/end`);
    await output(vm, `python3 random-changes.py ${seed} 3000 ${top}`);
    for (const event of await events) mirror.take(event);
    const listed = async () => (await vm.readdirRecursive(top)).map((entry) => entry.path);
    const paths = (await listed()).sort();
    // What is new in new directories comes after they were opened.
    const settled = () => paths.every((each) => mirror.paths.has(each)) && mirror.paths.size === paths.length;
    while (!settled()) {
      const next = await Promise.race([watcher.next(), new Promise((resolve) => setTimeout(resolve, 5000))]);
      if (next === undefined) break;
      mirror.take(next.value);
    }
    expect(mirror.lost).toEqual([]);
    expect([...mirror.paths].sort()).toEqual(paths);
    await watcher.return();
  },
);

test("trees that come at once, by git, mkdir -p and mv, are reported whole", async () => {
  const { top, watcher } = await watched();
  await output(
    vm,
    `export GIT_CONFIG_GLOBAL=/dev/null; mkdir -p ~/repo && cd ~/repo && git init -q . &&
    for d in $(seq 60); do mkdir -p src/$d/a/b && for f in 1 2 3 4 5; do echo $f > src/$d/a/b/$f; done; done &&
    git add . && git -c user.name=n -c user.email=e commit -qm all &&
    cd ${top} && git clone -q ~/repo clone && mkdir -p made/a/b/c/d && touch made/a/b/c/d/f && mv ~/repo moved && touch end`,
  );
  const mirror = new Mirror();
  const paths = (await vm.readdirRecursive(top)).map((entry) => entry.path);
  while (!paths.every((each) => mirror.paths.has(each))) mirror.take((await watcher.next()).value);
  expect(mirror.lost).toEqual([]);
  await watcher.return();
});

test("a burst of 10,000 files arrives whole, also when nobody takes it meanwhile", async () => {
  const { top, watcher } = await watched();
  await output(vm, `cd ${top}; python3 -c 'for i in range(10_000): open(f"f{i}", "w").write("x")'; touch end`);
  const events = await takeUntil(watcher, `${top}/end`);
  const names = Array.from({ length: 10_000 }, (_, number) => `${top}/f${number}`);
  const of = (wanted) => new Set(events.filter(({ type }) => type === wanted).map((event) => event.path));
  const [created, changed] = [of("created"), of("changed")];
  expect(events.filter(({ type }) => !["created", "changed"].includes(type))).toEqual([]);
  expect(names.filter((name) => !created.has(name))).toEqual([]);
  expect(names.filter((name) => !changed.has(name))).toEqual([]);
  await watcher.return();
});

test("what is too much to keep is one overflow, after which everything is reported again", async () => {
  const { top, watcher } = await watched();
  await output(
    vm,
    `cd ${top}; python3 -c 'for i in range(100_000): open(f"f{i}", "w")'; mkdir -p new/er; touch new/er/before; sleep 0.3`,
  );
  const events = [];
  do events.push((await watcher.next()).value);
  while (events.at(-1).type !== "overflow");
  expect(events.at(-1)).toEqual({ type: "overflow", path: top });
  expect(events.length).toBeGreaterThan(20_000);
  await output(vm, `touch ${top}/new/er/after`);
  const after = await takeUntil(watcher, `${top}/new/er/after`);
  expect(after.filter(({ type }) => type === "overflow")).toEqual([]);
  await watcher.return();
});

test("what the kernel drops is an overflow, and directories of that time are watched", async () => {
  const host = temporaryDirectory();
  fs.chmodSync(host, 0o777);
  const server = nodeScript(`
    const vm = await AgentVm.create({ mounts: [{ path: "/data", hostPath: ${JSON.stringify(host)}, readOnly: false }] });
    const watcher = vm.watch("/data", { recursive: true });
    await watcher.ready;
    console.log("ready");
    let overflow;
    for await (const event of watcher) {
      if (event.type === "overflow") console.log("overflow " + event.path);
      if (event.path === "/data/new/er/after") { console.log("after"); break; }
    }
    await vm.dispose();`);
  expect(await server.line()).toBe("ready");
  server.child.kill("SIGSTOP");
  const many = Number(fs.readFileSync("/proc/sys/fs/inotify/max_queued_events", "utf8"));
  for (let number = 0; number <= many; number++) {
    fs.writeFileSync(path.join(host, "f"), "");
    fs.rmSync(path.join(host, "f"));
  }
  fs.mkdirSync(path.join(host, "new/er"), { recursive: true });
  server.child.kill("SIGCONT");
  expect(await server.line()).toBe("overflow /data");
  fs.writeFileSync(path.join(host, "new/er/after"), "");
  expect(await server.line()).toBe("after");
  expect((await server.ended).code).toBe(0);
}, 60_000);

test("a storm of renames in a large tree is reported as overflows while it lasts, and what follows it as it is", async () => {
  const { top, watcher } = await watched();
  // Renames of a directory in a deep and wide tree, faster than anyone can follow.
  const script = `
import os
deep = "x/" * 300; os.makedirs(deep); os.chdir(deep)
for i in range(8000): os.mkdir("d%d" % i)
os.fork(); name = str(os.getpid()); os.mkdir(name)
while True: os.rename(name, name + "b"); os.rename(name + "b", name + "c"); os.rename(name + "c", name)`;
  const { pid } = await vm.spawn("python3", ["-c", script], { cwd: top });
  for (let overflows = 0; overflows < 3;) overflows += Number((await watcher.next()).value.type === "overflow");
  await vm.killProcess(pid);
  await vm.exec("pkill -KILL python3");
  // An overflow also covers what came before it was taken. After the last one, everything is reported.
  const made = new Set();
  const make = async () => {
    const file = `${top}/x/after${made.size}`;
    made.add(file);
    await vm.writeFile(file, "");
  };
  await make();
  for (;;) {
    const { type, path: at } = (await watcher.next()).value;
    if (type === "overflow") await make();
    if (type === "created" && made.has(at)) break;
  }
  await watcher.return();
});

test("what the host changes in a mount is reported, too", async () => {
  const host = temporaryDirectory();
  fs.mkdirSync(path.join(host, "d"));
  const place = await boot({ mounts: [{ path: "/data", hostPath: host }] });
  const watcher = place.watch("/data", { recursive: true });
  await watcher.ready;
  fs.writeFileSync(path.join(host, "d/f"), "1");
  fs.renameSync(path.join(host, "d/f"), path.join(host, "g"));
  fs.mkdirSync(path.join(host, "end"));
  expect(once(await takeUntil(watcher, "/data/end"))).toEqual([
    { type: "created", path: "/data/d/f" },
    { type: "changed", path: "/data/d/f" },
    { type: "renamed", path: "/data/g", from: "/data/d/f" },
    { type: "created", path: "/data/end" },
  ]);
});

test("names in `exclude` are neither watched nor reported", async () => {
  const exclude = ["node_modules", ".git"];
  const { top, watcher } = await watched({ recursive: true, exclude }, "mkdir -p a/node_modules/x .git");
  await output(
    vm,
    `cd ${top}; touch .git/f a/node_modules/x/f a/f; mkdir node_modules; touch node_modules/f; mv node_modules b;
    mv a .git/; mv .git/a c; touch c/node_modules/x/g`,
  );
  const events = [];
  const seen = () => new Set(events.map((event) => shown(event, top)));
  while (!["created b/f", "created c/f"].every((event) => seen().has(event))) events.push((await watcher.next()).value);
  const all = ["created a/f", "changed a/f", "created b", "created b/f", "removed a", "created c", "created c/f"];
  expect(seen()).toEqual(new Set(all));
  await watcher.return();
});

test("links lead nowhere: one in the path is followed inside, and one below is not", async () => {
  const { top, watcher } = await watched({ recursive: true }, "mkdir d out; ln -s d link; ln -s /tmp below");
  const linked = vm.watch(`${top}/link`, { recursive: true });
  await linked.ready;
  await output(vm, `cd ${top}; ln -s /tmp d/tmp; touch /tmp/f; mv out kept; ln -s /tmp out; touch /tmp/g d/end end`);
  expect((await takeUntil(linked, `${top}/link/end`)).map((event) => shown(event, top))).toEqual([
    "created link/tmp",
    "created link/end",
  ]);
  expect((await takeUntil(watcher, `${top}/end`)).map((event) => shown(event, top))).toEqual([
    "created d/tmp",
    "renamed kept out",
    "created out",
    "created d/end",
    "changed d/end",
    "created end",
  ]);
  await Promise.all([watcher.return(), linked.return()]);
  const outside = vm.watch(`${top}/out/../proc/self/root`);
  expect((await rejection(outside.ready)).code).toBe("ELOOP");
});

test("a directory that may not be read is reported, and watched once it may be", async () => {
  const { top, watcher } = await watched({ recursive: true }, "mkdir -p a/b; chmod 000 a/b");
  expect((await watcher.next()).value).toEqual({ type: "unwatched", path: `${top}/a/b`, code: "EACCES" });
  await output(vm, `cd ${top}; chmod 755 a/b; touch a/b/f`);
  expect((await takeUntil(watcher, `${top}/a/b/f`))[0]).toEqual({ type: "changed", path: `${top}/a/b` });
  await watcher.return();
});

test("errors say what is wrong, to `ready` and to the loop", async () => {
  await output(vm, "mkdir -p closed/d; chmod 000 closed; touch file; mkfifo fifo");
  for (const [at, code] of [
    ["/home/user/none", "ENOENT"],
    ["/home/user/file/x", "ENOTDIR"],
    ["/home/user/closed", "EACCES"],
    ["/home/user/closed/d", "EACCES"],
    ["/home/user/fifo", "EINVAL"],
    ["/dev/null", "EINVAL"],
    ["/proc", "EOPNOTSUPP"],
  ]) {
    const watcher = vm.watch(at);
    const error = await rejection(watcher.ready);
    expect([error.code, error.syscall, error.path]).toEqual([code, "watch", at]);
    expect(error).toBeInstanceOf(Error);
    expect((await rejection(watcher.next())).code).toBe(code);
    expect(await watcher.next()).toEqual({ value: undefined, done: true });
  }
  const refused = expect.objectContaining({ code: "INVALID_ARGUMENT" });
  for (const bad of [
    ["x"],
    [undefined],
    ["/x", null],
    ["/x", { deep: true }],
    ["/x", { recursive: 1 }],
    ["/x", { exclude: "x" }],
    ["/x", { exclude: ["x".repeat(65_537)] }],
    ["/x", { signal: {} }],
    ["/x", {}, 1],
  ]) {
    expect(() => vm.watch(...bad)).toThrow(refused);
  }
});

test("a watch ends by return, by an abort, with its directory and with its VM", async () => {
  const left = await watched();
  const waiting = left.watcher.next();
  expect(await left.watcher.return()).toEqual({ value: undefined, done: true });
  expect(await waiting).toEqual({ value: undefined, done: true });

  const controller = new AbortController();
  const aborted = await watched({ signal: controller.signal });
  const rejected = rejection(aborted.watcher.next());
  controller.abort(new Error("enough"));
  expect(await rejected).toMatchObject({ code: "ABORTED", cause: new Error("enough") });
  expect(await aborted.watcher.next()).toEqual({ value: undefined, done: true });
  const late = vm.watch("/home/user", { signal: controller.signal });
  expect((await rejection(late.ready)).code).toBe("ABORTED");
  expect((await rejection(late.next())).code).toBe("ABORTED");

  for (const command of ["rm -r", "mv -t /tmp"]) {
    const { top, watcher } = await watched();
    await output(vm, `${command} ${top}`);
    const events = [];
    for await (const event of watcher) events.push(event);
    expect(events).toEqual([{ type: "removed", path: top }]);
  }

  const other = await boot();
  const watcher = other.watch("/home/user");
  await watcher.ready;
  const ended = rejection(watcher.next());
  await other.dispose();
  expect((await ended).code).toBe("VM_DISPOSED");
  expect(await watcher.next()).toEqual({ value: undefined, done: true });
  expect(() => other.watch("/home/user")).toThrow(expect.objectContaining({ code: "VM_DISPOSED" }));
});

/** How many inotify instances this process holds. */
function instances() {
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).includes("inotify");
    } catch {
      return false;
    }
  }).length;
}

test("64 watches of a VM share one inotify instance, the next is refused, and what ends is given back", async () => {
  // That of the VM of this file; those of VMs that have ended are closed a moment later.
  await vm.watch("/home/user").ready;
  await until(() => instances() === 1);
  const place = await boot();
  const watchers = Array.from({ length: 64 }, () => place.watch("/home/user", { recursive: true }));
  await Promise.all(watchers.map((watcher) => watcher.ready));
  expect(instances()).toBe(2);
  const error = await rejection(place.watch("/home/user").ready);
  expect([error.code, error.message]).toEqual(["LIMIT_EXCEEDED", expect.stringContaining("64 watches")]);
  await output(place, "mkdir -p a/b; touch a/b/f");
  await Promise.all(watchers.map((watcher) => takeUntil(watcher, "/home/user/a/b/f")));
  await watchers[0].return();
  await until(() =>
    place.watch("/home/user").ready.then(
      () => true,
      () => false,
    ),
  );
  await Promise.all(watchers.map((watcher) => watcher.return()));
  const last = await boot();
  const only = last.watch("/home/user");
  await only.ready;
  await only.return();
  await place.dispose();
  await until(() => instances() === 1);
});

test("beyond the bound on directories a new watch is refused, and a running one says what it does not watch", async () => {
  const place = await boot();
  const { top, watcher } = await watched({ recursive: true }, "true", place);
  const many = `import os
for i in range(33):
    for j in range(1000): os.makedirs(f"${top}/{i}/{j}")`;
  await place.writeFile("/home/user/many.py", many);
  await output(place, "python3 many.py");
  const events = [];
  while (events.at(-1)?.type !== "unwatched") events.push((await watcher.next()).value);
  expect(events.at(-1)).toMatchObject({
    type: "unwatched",
    code: "LIMIT_EXCEEDED",
    path: expect.stringContaining(top),
  });
  await watcher.return();
  const error = await rejection(place.watch(top, { recursive: true }).ready);
  expect([error.code, error.message]).toEqual(["LIMIT_EXCEEDED", expect.stringContaining("exclude names")]);
  const part = place.watch(`${top}/1`, { recursive: true });
  await part.ready;
  await output(place, `touch ${top}/1/999/f`);
  await takeUntil(part, `${top}/1/999/f`);
}, 120_000);

test("a directory that renames bring too far down is not watched any more, which is said, and watched again higher up", async () => {
  const { top, watcher } = await watched({ recursive: true }, "mkdir a && mkdir a/in");
  // Its working directory stays the innermost one. Each turn of the first loop puts everything into one more directory.
  const script = `import os
top, name = "${top}", "d" * 200
os.chdir(f"{top}/a/in")
there = os.open(top, os.O_RDONLY)
for i in range(40):
    os.mkdir("n", dir_fd=there)
    os.close(os.open("n/m", os.O_CREAT | os.O_WRONLY, dir_fd=there))
    input()
    os.rename("a", f"n/{name}{i}", src_dir_fd=there, dst_dir_fd=there)
    os.rename("n", "a", src_dir_fd=there, dst_dir_fd=there)
open(f"{top}/turned", "w").close()
input()
for i in range(1000): open(f"unseen{i}", "w").close()
open(f"{top}/a/near", "w").close()
os.rename("../in", "up", dst_dir_fd=there)
open("seen", "w").close()
open(f"{top}/last", "w").close()`;
  await vm.writeFile("/home/user/far.py", script);
  const { pid } = await vm.spawn("python3", ["/home/user/far.py"]);
  const before = [];
  for (let i = 0; i < 40; i++) {
    // The new directory is watched now.
    before.push(...(await takeUntil(watcher, `${top}/n/m`)));
    await vm.writeProcessStdin(pid, "\n");
  }
  before.push(...(await takeUntil(watcher, `${top}/turned`)));
  await output(vm, `touch ${top}/looked`);
  before.push(...(await takeUntil(watcher, `${top}/looked`)));
  const below = (at) => at.length - `${top}/`.length;
  // Each further rename brings one more directory too far down.
  const unwatched = before.filter(({ type }) => type === "unwatched");
  expect(new Set(unwatched.map(({ code }) => code))).toEqual(new Set(["ENAMETOOLONG"]));
  expect(unwatched.every(({ path: at }) => below(at) > 4095 && below(at) < 4095 + 210)).toBe(true);
  expect(before.filter(({ type }) => type === "overflow")).toEqual([]);
  expect(before.filter(({ path: at }) => below(at) > 4095 + 256)).toEqual([]);
  await vm.writeProcessStdin(pid, "\n");
  // The new directory is listed after it was found: its content comes before what happens later, or after that.
  const after = [];
  const has = (name) => after.some(({ type, path: at }) => type === "created" && at === `${top}/${name}`);
  while (!has("last") || !has("up/seen")) after.push((await watcher.next()).value);
  expect((await vm.waitProcessExit(pid)).exitCode).toBe(0);
  await output(vm, `touch ${top}/up/end`);
  while (!has("up/end")) after.push((await watcher.next()).value);
  const seen = after.map((event) => shown(event, top));
  expect(seen).toEqual(expect.arrayContaining(["created a/near", "created up"]));
  // Not one was reported while it was far down.
  expect(seen.filter((each) => each.includes("unseen")).sort()).toEqual(
    Array.from({ length: 1000 }, (_, i) => `created up/unseen${i}`).sort(),
  );
  await watcher.return();
});
