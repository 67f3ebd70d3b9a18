"use strict";
// Copies into the VMs of the command line, and out of them.

const { execFileSync } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");

const { afterTest } = require("../fixture/cleanup");
const { agentVm, program } = require("../fixture/command-line");
const { temporaryDirectory } = require("../fixture/directory");
const { until } = require("../fixture/promises");

let directory;
let env;
beforeEach(() => {
  directory = temporaryDirectory();
  env = { XDG_RUNTIME_DIR: directory };
});

const cp = (...args) => agentVm(["cp", ...args], { env });
const sockets = () => fs.readdirSync(path.join(directory, "agent-vm"));
const DONE = { code: 0, stdout: "", stderr: "" };

/** A VM with a name, and `inside`, which resolves to what a command in it prints. */
async function named(name, ...options) {
  const { child, printed } = agentVm(["run", "--name", name, ...options, "--", "sh", "-c", SERVE], {
    env,
    input: null,
  });
  const ended = new Promise((resolve) => child.on("close", resolve));
  afterTest(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await until(() => printed.stdout.includes("ready\n"));
  const inside = async (command) => {
    printed.stdout = "";
    child.stdin.write(`${command}; echo "[end]"\n`);
    await until(() => printed.stdout.endsWith("[end]\n"));
    return printed.stdout.slice(0, -6);
  };
  return { child, ended, inside };
}
const SERVE = 'echo ready; while read -r command; do eval "$command"; done';

test("files go in and out, with modes and times, to a name or into a directory", async () => {
  const { inside } = await named("box");
  const file = path.join(directory, "tool");
  fs.writeFileSync(file, "#!/bin/sh\necho hello\n", { mode: 0o750 });
  fs.utimesSync(file, 1_600_000_000, 1_600_000_000);
  expect(await cp(file, "box:")).toEqual(DONE);
  expect(await inside("./tool; stat -c '%a %Y %U' tool")).toBe("hello\n750 1600000000 user\n");
  expect(await cp(file, "box:/tmp/other")).toEqual(DONE);
  expect(await inside("mkdir d; cmp tool /tmp/other && rm tool && chmod 4711 /tmp/other; echo $?")).toBe("0\n");

  const target = path.join(directory, "back");
  const elsewhere = path.join(directory, "elsewhere");
  fs.writeFileSync(elsewhere, "untouched");
  fs.symlinkSync(elsewhere, target);
  expect(await cp("box:/tmp/other", target)).toEqual(DONE);
  expect(fs.readFileSync(elsewhere, "utf8")).toBe("untouched");
  const { mode, mtimeMs } = fs.lstatSync(target);
  expect([mode.toString(8), mtimeMs]).toEqual(["100711", 1_600_000_000_000]);
  expect(fs.readFileSync(target)).toEqual(fs.readFileSync(file));
  fs.mkdirSync(path.join(directory, "into"));
  expect(await cp("box:/tmp/other", path.join(directory, "into/"))).toEqual(DONE);
  expect(fs.readdirSync(path.join(directory, "into"))).toEqual(["other"]);
});

test("directories go in and out as with cp -R, and patterns are left out", async () => {
  const { inside } = await named("box");
  const source = path.join(directory, "source");
  fs.mkdirSync(path.join(source, "sub/empty"), { recursive: true });
  fs.mkdirSync(path.join(source, "node_modules"));
  fs.writeFileSync(path.join(source, "node_modules/left-out"), "");
  fs.writeFileSync(path.join(source, "sub/file"), "x".repeat(100_000));
  fs.symlinkSync("/etc/shadow", path.join(source, "link"));

  expect(await cp(source, "box:work", "--exclude", "node_modules")).toEqual(DONE);
  const tree = "find . -printf '%P %y %l\\n' | sort";
  const copied = "\n d \nlink l /etc/shadow\nsub d \nsub/empty d \nsub/file f \n".slice(1);
  expect(await inside(`cd work; ${tree}; cd ..`)).toBe(copied);
  // It is a directory by now.
  expect(await cp(source, "box:work", "--exclude", "/node_modules/")).toEqual(DONE);
  expect(await inside(`cd work/source; ${tree}; rm -r ../source; cd ../..`)).toBe(copied);
  expect(await cp(`${source}/.`, "box:/home/user/work/")).toEqual(DONE);
  expect(await inside("ls work")).toBe("link\nnode_modules\nsub\n");

  const back = path.join(directory, "back");
  expect(await cp("box:work", back)).toEqual(DONE);
  expect(execFileSync("diff", ["-r", "--no-dereference", source, back], { encoding: "utf8" })).toBe("");
  expect(await cp("box:work", back)).toEqual(DONE);
  expect(fs.readdirSync(back).sort()).toEqual(["link", "node_modules", "sub", "work"]);
});

test("a directory is not copied through a link that an earlier copy has made", async () => {
  const { inside } = await named("box");
  const [out, elsewhere] = ["out", "elsewhere"].map((name) => path.join(directory, name));
  fs.mkdirSync(elsewhere);
  await inside(`mkdir tree; ln -s ${elsewhere} tree/keys`);
  expect(await cp("box:tree/.", out)).toEqual(DONE);
  await inside("mkdir keys; echo mine > keys/authorized");
  expect(await cp("box:keys", out)).toMatchObject({ code: 125, stderr: expect.stringContaining("ENOTDIR") });
  expect(fs.readdirSync(elsewhere)).toEqual([]);
  // A link that the caller names is followed.
  expect(await cp("box:keys/.", path.join(out, "keys"))).toEqual(DONE);
  expect(fs.readdirSync(elsewhere)).toEqual(["authorized"]);

  fs.mkdirSync(path.join(out, "tree/keys"), { recursive: true });
  const { stderr } = await cp("box:tree", out);
  expect(stderr).toContain(path.join(out, "tree/keys"));
  expect(stderr).not.toContain("/proc");
});

test("what cannot be copied is said, and nothing odd is left", async () => {
  const { inside, child, ended } = await named("box");
  await inside("mkfifo fifo; mkdir full; touch full/file; chmod 0 full; mkdir d; mkfifo d/fifo");
  const refused = async (args, code, text) => {
    const { stderr, ...rest } = await cp(...args);
    expect(rest).toEqual({ code, stdout: "" });
    expect(stderr).toContain(text);
  };
  await refused(["box:none", directory], 125, "none");
  await refused(["box:fifo", directory], 125, "neither a file nor a directory");
  await refused(["box:full", directory], 125, "EACCES");
  await refused(["/nowhere", "box:"], 125, "ENOENT");
  await refused([directory, "box:none/"], 125, "no directory");
  await refused([directory, "other:"], 2, 'there is no VM with the name "other"');
  await refused([directory, directory], 2, "NAME:PATH");
  await refused(["box:a", "box:b"], 2, "NAME:PATH");
  await refused(["box:a"], 2, "a SOURCE and a DEST");
  await refused(["box:d/.", path.join(directory, "d")], 0, "1 devices, FIFOs or sockets were not copied");
  expect(fs.readdirSync(directory).sort()).toEqual(["agent-vm", "d"]);

  await inside("truncate -s 1T huge");
  await refused(["box:huge", directory], 125, "/home/user/huge has 1099511627776 bytes");
  // Until the VM's disk is full.
  await inside("{ yes > growing & } ; until [ -s growing ]; do :; done");
  expect(await cp("box:growing", directory)).toEqual(DONE);
  const end = Number(await inside("wait $! 2>/dev/null; stat -c %s growing; rm growing"));
  expect(fs.statSync(path.join(directory, "growing")).size).toBeLessThan(end);
  fs.rmSync(path.join(directory, "growing"));

  const endless = cp("box:/dev/zero", path.join(directory, "zero"));
  expect((await endless).stderr).toContain("neither a file nor a directory");
  child.stdin.end();
  await ended;
  expect(sockets()).toEqual([]);
});

test("a name is one VM's; what a killed one leaves gives way", async () => {
  const first = await named("box");
  const second = await agentVm(["run", "--name", "box", "--", "true"], { env });
  expect(second).toMatchObject({ code: 2, stderr: expect.stringContaining('already a VM with the name "box"') });
  first.child.kill("SIGKILL");
  await first.ended;
  expect(sockets()).toEqual(["box.sock"]);
  expect((await cp(__filename, "box:")).stderr).toContain('no VM with the name "box"');
  const { inside } = await named("box");
  expect(await cp(__filename, "box:")).toEqual(DONE);
  expect(await inside("ls")).toBe(`${path.basename(__filename)}\n`);
});

test("the sockets are this user's alone, and no VM shows them", async () => {
  const names = path.join(directory, "agent-vm");
  const refusal = async (...options) =>
    (await agentVm(["run", "--name", "box", ...options, "--", "true"], { env })).stderr;
  expect(await refusal("--mount", `${directory}:/x`)).toContain(`contains ${fs.realpathSync(names)}`);
  expect(await refusal("--home", names)).toContain("it must not be shown");
  const unnamed = await agentVm(["run", "--mount", `${directory}:/x`, "--", "true"], { env });
  expect(unnamed).toMatchObject({ code: 2, stderr: expect.stringContaining("it must not be shown") });
  expect(await refusal("--name", "../x")).toContain("up to 32 letters");
  expect(fs.statSync(names).mode & 0o777).toBe(0o700);
  fs.chmodSync(names, 0o755);
  expect(await refusal()).toContain("only this user may enter");
});

test("a request that is none, and one whose caller goes away, leave the VM as it is", async () => {
  const { inside } = await named("box");
  const socket = path.join(directory, "agent-vm/box.sock");
  const answer = (text) =>
    new Promise((resolve) => {
      let said = "";
      const connection = net.connect(socket).on("error", () => {});
      connection.on("data", (data) => (said += data)).on("close", () => resolve(said));
      connection.write(text);
    });
  for (const text of ["x\n", "{}\n", "null\n", '{"direction":"in","source":"/","target":5}\n']) {
    expect(await answer(text)).toMatch(/^\{"error":/);
  }
  // Without an end of the line; who has not taken it all may lose the answer.
  expect(await answer(`"${"x".repeat(2 << 20)}`)).toMatch(/^$|longer than 1 MiB/);
  const large = path.join(directory, "large");
  fs.writeFileSync(large, "");
  fs.truncateSync(large, 1 << 40);
  const { child } = cp(large, "box:large");
  await until(async () => Number(await inside("stat -c %s large 2>/dev/null || echo 0")) > 0);
  child.kill("SIGKILL");
  let size;
  await until(async () => size === (size = await inside("sleep 0.2; stat -c %s large")));
  expect(Number(size)).toBeLessThan(2 ** 40);
  expect(await cp("box:large", path.join(directory, "part"))).toEqual(DONE);
});

test("a ninth copy at a time is refused, and says so", async () => {
  await named("box");
  const connections = Array.from({ length: 8 }, () => net.connect(path.join(directory, "agent-vm/box.sock")));
  await Promise.all(connections.map((each) => once(each, "connect")));
  expect(await cp(__filename, "box:")).toMatchObject({ code: 125, stderr: expect.stringContaining("8 other copies") });
  for (const each of connections) each.destroy();
  await until(async () => (await cp(__filename, "box:")).code === 0);
});

test("a terminal shows a bar", async () => {
  await named("box");
  const file = path.join(directory, "file");
  fs.writeFileSync(file, Buffer.alloc(30 << 20));
  const command = `'${process.execPath}' '${program}' cp ${file} box:`;
  const shown = execFileSync("script", ["-qec", command, "/dev/null"], {
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  expect(shown.replaceAll("\r\x1b[K", "\n")).toMatch(/^\[#*\.*\] \d+ % {2}0 of 1 files, .* of 31\.5 MB$/m);
  expect(shown.endsWith("\r\x1b[K")).toBe(true);
});
