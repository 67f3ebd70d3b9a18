"use strict";
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { rejection, until } = require("./fixture/promises");
const { muslRoot } = require("./fixture/roots");
const { boot, output } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

let directory;
beforeAll(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-software-"));
});
afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

/** An npm package at `where`, as an installer makes it. */
function install(where, manifest, files = {}) {
  const at = path.join(directory, where);
  for (const [name, content] of Object.entries({ "package.json": JSON.stringify(manifest), ...files })) {
    fs.mkdirSync(path.dirname(path.join(at, name)), { recursive: true });
    fs.writeFileSync(path.join(at, name), content, { mode: name.endsWith("cli.js") ? 0o755 : 0o644 });
  }
  return at;
}

function link(where, target) {
  const at = path.join(directory, where);
  fs.mkdirSync(path.dirname(at), { recursive: true });
  fs.symlinkSync(target, at);
}

const cli = (from) => `#!/usr/bin/env node\nconsole.log(require("${from}"), process.argv.slice(2).join());\n`;
const agent = (packageDir, ...requires) => ({ name: "an agent", type: "agent", packageDir, requires });
const commands = (...names) => ({
  name: "a set",
  aptName: "a-set",
  commands: names.map((name) => ({ name, permissionTier: "full" })),
  commandDir: "/nowhere",
});

/** As npm installs packages: all side by side, except a version that only one of them needs. */
function hoisted(name) {
  install(`${name}/node_modules/@scope/agent`, { name: "@scope/agent", dependencies: { "the-cli": "1" } });
  install(
    `${name}/node_modules/the-cli`,
    { name: "the-cli", bin: { "say-it": "cli.js" }, dependencies: { words: "1", missing: "1" } },
    { "cli.js": cli("words") },
  );
  install(
    `${name}/node_modules/the-cli/node_modules/words`,
    { name: "words" },
    { "index.js": "module.exports = 'own'" },
  );
  install(`${name}/node_modules/words`, { name: "words" }, { "index.js": "module.exports = 'another'" });
  return path.join(directory, name, "node_modules/@scope/agent");
}

test("commands are the VM's own programs: those that are there ask for nothing more", async () => {
  const vm = await boot({
    software: [commands("sh", "cat", "_stubs"), [[commands("ls"), { ...commands(), aliases: { dir: "ls" } }]]],
  });
  expect(await output(vm, "cat /proc/self/comm")).toBe("cat\n");
  expect(await output(vm, "echo $PATH")).not.toContain("agent-vm");
});

test("a command that the VM lacks rejects create, and tells what brings it", async () => {
  const error = await rejection(AgentVm.create({ software: [commands("cat", "no-such-program", "nor-this")] }));
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error).toMatchObject({ code: "ENOENT", path: "no-such-program" });
  for (const word of ["no-such-program", "nor-this", "a set", "a-set"]) expect(error.message).toContain(word);
  // For a package without a list, the files of its directory are its commands.
  const commandDir = path.join(directory, "wasm");
  fs.mkdirSync(commandDir);
  for (const name of ["cat", "_part", "never-heard-of"]) fs.writeFileSync(path.join(commandDir, name), "");
  expect(await rejection(AgentVm.create({ software: [{ commandDir }] }))).toMatchObject({
    code: "ENOENT",
    path: "never-heard-of",
  });
});

test("commands are searched for on the VM's own PATH", async () => {
  const env = { PATH: "/nowhere" };
  expect(await rejection(AgentVm.create({ env, software: [commands("cat")] }))).toMatchObject({ code: "ENOENT" });
});

test("an agent's commands run inside, on what they depend on, and show like any other program", async () => {
  const vm = await boot({ software: [agent(hoisted("npm"), "@scope/agent", "the-cli")] });
  expect(await output(vm, "say-it one two")).toBe("own one,two\n");
  expect(await output(vm, "command -v say-it")).toBe("/opt/agent-vm/bin/say-it\n");
  const { pid } = await vm.spawn("sh", ["-c", "say-it; node -e 'setTimeout(() => {}, 1e6)'; true"]);
  await until(async () => (await vm.processTree()).some((node) => node.pid === pid && node.children.length === 1));
  // On the PATH, Node.js and the user's own directory precede the packages' commands, and the system's directories
  // follow.
  expect((await output(vm, "echo $PATH")).split(":")).toEqual(
    expect.arrayContaining(["/opt/node/bin", "/home/user/.local/bin", "/opt/agent-vm/bin", "/usr/bin"]),
  );
  expect((await output(vm, "echo $PATH")).split(":").slice(0, 3)).toEqual([
    "/opt/node/bin",
    "/home/user/.local/bin",
    "/opt/agent-vm/bin",
  ]);
});

test("what is shown is shown once, and read-only", async () => {
  const packageDir = hoisted("once");
  const vm = await boot({
    software: [agent(packageDir, "the-cli"), [{ ...agent(packageDir, "@scope/agent"), name: "b" }]],
  });
  const mounts = (await output(vm, "cat /proc/self/mounts")).split("\n").filter((line) => line.includes("agent-vm"));
  expect(mounts).toHaveLength(1);
  expect(mounts[0]).toContain(" /opt/agent-vm/software/node_modules ");
  for (const file of ["software/node_modules/the-cli/cli.js", "bin/say-it", "bin/new", "software/new"]) {
    const error = await rejection(vm.writeFile(`/opt/agent-vm/${file}`, "x"));
    expect([file, error.code]).toEqual([file, "EROFS"]);
  }
});

test("pnpm's layout of links works too", async () => {
  const store = "pnpm/node_modules/.pnpm";
  install(`${store}/agent@1/node_modules/agent`, { name: "agent", dependencies: { "the-cli": "1" } });
  install(
    `${store}/the-cli@1/node_modules/the-cli`,
    { name: "the-cli", bin: "./cli.js", dependencies: { words: "1" } },
    { "cli.js": cli("words") },
  );
  install(`${store}/words@1/node_modules/words`, { name: "words" }, { "index.js": "module.exports = 'linked'" });
  link("pnpm/node_modules/agent", ".pnpm/agent@1/node_modules/agent");
  link(`${store}/agent@1/node_modules/the-cli`, "../../the-cli@1/node_modules/the-cli");
  link(`${store}/the-cli@1/node_modules/words`, "../../words@1/node_modules/words");
  const packageDir = fs.realpathSync(path.join(directory, "pnpm/node_modules/agent"));
  const vm = await boot({ software: [agent(packageDir, "agent", "the-cli")] });
  expect(await output(vm, "the-cli x")).toBe("linked x\n");
});

test("a workspace's package is shown beside what it depends on, and nothing else of the workspace", async () => {
  const packageDir = install(
    "workspace/packages/tool",
    { name: "tool", bin: { "work-it": "cli.js" }, dependencies: { words: "1", near: "1" } },
    { "cli.js": `${cli("words")}console.log(require("near"));\n` },
  );
  install("workspace/node_modules/words", { name: "words" }, { "index.js": "module.exports = 'hoisted'" });
  install("workspace/packages/tool/node_modules/near", { name: "near" }, { "index.js": "module.exports = 'near'" });
  fs.writeFileSync(path.join(directory, "workspace/secret"), "secret");
  link("workspace/node_modules/tool", "../packages/tool");
  const vm = await boot({ software: [agent(packageDir, "tool")] });
  expect(await output(vm, "work-it x")).toBe("hoisted x\nnear\n");
  expect(await output(vm, "ls /opt/agent-vm/software /opt/agent-vm/software/packages")).not.toContain("secret");
});

test("a tool brings the commands that it names, and no others", async () => {
  const packageDir = install("tools/node_modules/tool", { name: "tool" });
  install(
    "tools/node_modules/many",
    { name: "many", bin: { one: "cli.js", two: "cli.js" } },
    { "cli.js": "#!/usr/bin/env node\nconsole.log('many')" },
  );
  install("tools/node_modules/single", { name: "single", bin: "cli.js" }, { "cli.js": "#!/bin/sh\necho single\n" });
  const bins = { one: "many", another: "single" };
  const vm = await boot({ software: [{ name: "t", type: "tool", packageDir, requires: ["tool", "many"], bins }] });
  expect(await output(vm, "one; another; ls /opt/agent-vm/bin")).toBe("many\nsingle\nanother\none\n");
});

test("what is not installed, or cannot be run, rejects create and is named", async () => {
  const packageDir = hoisted("lacking");
  const lacking = await rejection(AgentVm.create({ software: [agent(packageDir, "not-installed")] }));
  expect(lacking).toMatchObject({ name: "AgentVmError", code: "ENOENT", path: packageDir });
  for (const word of ["an agent", "not-installed"]) expect(lacking.message).toContain(word);
  const script = path.join(directory, "lacking/node_modules/the-cli/cli.js");
  fs.chmodSync(script, 0o644);
  const software = [agent(packageDir, "the-cli")];
  const closed = await rejection(AgentVm.create({ software }));
  expect(closed).toMatchObject({ name: "AgentVmError", code: "EACCES", path: script });
  expect(closed.message).toContain("chmod");
  // When the cause is fixed, the same description works.
  fs.chmodSync(script, 0o755);
  expect(await output(await boot({ software }), "say-it")).toBe("own \n");
});

test("two packages cannot bring different commands of one name", async () => {
  const software = ["twice", "again"].map((name) => ({ ...agent(hoisted(name), "the-cli"), name }));
  const error = await rejection(AgentVm.create({ software }));
  expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
  for (const word of ["say-it", "twice", "again"]) expect(error.message).toContain(word);
});

test("software and mounts can be combined, and no mount is replaced", async () => {
  const shown = path.join(directory, "shown");
  fs.mkdirSync(shown);
  fs.writeFileSync(path.join(shown, "file"), "content");
  const mounts = [{ path: "/srv/data", hostPath: shown }];
  const vm = await boot({ mounts, software: [agent(hoisted("beside"), "the-cli")] });
  expect(await output(vm, "cat /srv/data/file; say-it x")).toBe("contentown x\n");
  expect(await rejection(AgentVm.create({ mounts: [{ path: "/opt/agent-vm/bin", hostPath: shown }] }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});

test("beside rootfs, its commands are those of that root, and what it shows runs on what that root has", async () => {
  const rootfs = muslRoot(path.join(directory, "musl"));
  install(
    "root/node_modules/the-cli",
    { name: "the-cli", bin: { "say-it": "cli.js", "on-node": "node-cli.js" } },
    { "cli.js": '#!/bin/sh\ncat /etc/release; echo "$@"\n', "node-cli.js": "#!/usr/bin/env node\n" },
  );
  const software = [commands("hello", "cat"), agent(path.join(directory, "root/node_modules/the-cli"), "the-cli")];
  const vm = await boot({ rootfs, software });
  expect(await output(vm, "say-it x; command -v say-it")).toBe("of musl\nx\n/opt/agent-vm/bin/say-it\n");
  expect(await vm.exec("echo x > /opt/agent-vm/software/node_modules/new")).toMatchObject({ exitCode: 1 });
  expect(await vm.exec("on-node")).toMatchObject({ exitCode: 127, stderr: expect.stringContaining("node") });
  expect(await rejection(AgentVm.create({ rootfs, software: [commands("python3")] }))).toMatchObject({
    code: "ENOENT",
    path: "python3",
  });
});

test('without a root of its own a VM can show nothing: isolation "none" takes commands alone', async () => {
  const vm = await boot({ isolation: "none", software: [commands("cat")] });
  expect(await output(vm, "echo on")).toBe("on\n");
  const software = [agent(hoisted("none"), "the-cli")];
  expect(await rejection(AgentVm.create({ isolation: "none", software }))).toMatchObject({ code: "INVALID_ARGUMENT" });
});

const circular = [];
circular.push(circular);
test.each([
  ["no array", commands("cat")],
  ["a name", ["pi"]],
  ["null", [null]],
  ["an object without anything", [{}]],
  ["a module that holds it", [{ default: [commands("cat")] }]],
  ["a type that does not exist", [{ type: "daemon", commandDir: "/x" }]],
  ["an agent without a directory", [{ type: "agent", requires: [] }]],
  ["an agent with a relative directory", [agent("here", "x")]],
  ["an agent that requires no list", [{ type: "agent", packageDir: "/x", requires: "y" }]],
  ["a tool whose bins are a list", [{ ...agent("/x"), type: "tool", bins: ["y"] }]],
  ["commands that are no list", [{ commands: "cat", commandDir: "/x" }]],
  ["a command without a name", [{ commands: [{}], commandDir: "/x" }]],
  ["a command that is a path", [commands("/bin/cat")]],
  ["a list that holds itself", circular],
])("%s is an invalid argument, which says what would be right", async (_, software) => {
  const error = await rejection(AgentVm.create({ software }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
  expect(error.message).toContain("software");
  for (const word of ["commandDir", "packageDir", "bins"]) expect(error.message).toContain(word);
});
