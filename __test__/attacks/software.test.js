"use strict";
// Hostile npm packages, and guests that can write to a project, choose what the option `software` shows.

const fs = require("node:fs");
const path = require("node:path");

const { temporaryDirectory } = require("../fixture/directory");
const { run } = require("../fixture/packages");
const { rejection } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");
const { AgentVm } = require("../..");

const flags = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"];
const agent = (packageDir, ...requires) => ({ name: "an agent", type: "agent", packageDir, requires });

/** Writes a package to `where`. Other users may read it, whatever the umask. */
function write(where, manifest, files = {}) {
  for (const [name, content] of Object.entries({ "package.json": JSON.stringify(manifest), ...files })) {
    const file = path.join(where, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
    fs.chmodSync(file, 0o755);
  }
  return where;
}

/** Packs these packages into tarballs, and installs them with npm into the project at `app`. */
async function install(app, ...packages) {
  const tarballs = path.join(path.dirname(app), "tarballs");
  fs.mkdirSync(tarballs, { recursive: true });
  const cache = `--cache=${path.join(path.dirname(app), "cache")}`;
  for (const one of packages) {
    const tarball = path.join(tarballs, `${path.basename(one)}.tgz`);
    await run("tar", ["-czf", tarball, "--transform", "s:^[.]:package:", "."], { cwd: one });
  }
  const files = fs.readdirSync(tarballs).map((name) => path.join(tarballs, name));
  if (!fs.existsSync(path.join(app, "package.json"))) write(app, { name: "app", private: true });
  await run("npm", ["install", ...flags, cache, ...files], { cwd: app });
  return path.join(app, "node_modules");
}

const cli = '#!/bin/sh\necho "runs $*"\n';

async function refused(software, ...words) {
  const error = await rejection(AgentVm.create({ software: [software] }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
  for (const word of words) expect(error.message).toContain(word);
}

test("a package that npm linked to a directory of the host, or to the project, shows none of it", async () => {
  const at = temporaryDirectory();
  write(path.join(at, "secret"), { name: "zz" }, { key: "secret" });
  write(path.join(at, "app"), { name: "app", private: true }, { ".env": "secret" });
  const hostile = (name, target) =>
    write(
      path.join(at, "src", name),
      { name, version: "1.0.0", bin: "cli.js", dependencies: { zy: target } },
      { "cli.js": cli },
    );
  for (const [name, target] of [
    ["evil-absolute", `file:${path.join(at, "secret")}`],
    ["evil-project", "file:../.."],
    ["evil-relative", "file:../../../secret"],
    ["evil-root", "file:/root"],
  ]) {
    const app = path.join(at, name, "app");
    write(app, { name: "app", private: true }, { ".env": "secret" });
    write(path.join(at, name, "secret"), { name: "zy" }, { key: "secret" });
    const modules = await install(app, hostile(name, target));
    const link = path.join(modules, "zy");
    // npm may also nest it, or leave out a package for another platform: then the test puts it where npm would have.
    const nested = path.join(modules, name, "node_modules/zy");
    const made = [link, nested].find((one) => fs.lstatSync(one, { throwIfNoEntry: false })?.isSymbolicLink()) ?? link;
    if (made === link && !fs.existsSync(link)) fs.symlinkSync(target.replace("file:", ""), link);
    if (!fs.existsSync(made)) {
      fs.rmSync(made);
      fs.symlinkSync(path.join(at, "secret"), made);
    }
    const packageDir = path.join(modules, name);
    await refused(agent(packageDir, name), made, "allowLinks", fs.realpathSync(made));
  }
}, 120_000);

test("a link that is named in allowLinks is followed, and no other", async () => {
  const at = temporaryDirectory();
  const linked = write(path.join(at, "linked"), { name: "linked", bin: "cli.js" }, { "cli.js": cli });
  const other = write(path.join(at, "other"), { name: "other" }, { key: "secret" });
  const app = write(path.join(at, "app"), { name: "app" });
  const packageDir = write(path.join(app, "node_modules/tool"), { name: "tool", dependencies: { linked: "1" } });
  fs.symlinkSync("../../linked", path.join(app, "node_modules/linked"));
  await refused(agent(packageDir, "tool"), linked, "allowLinks");
  const allowed = { ...agent(packageDir, "tool", "linked"), allowLinks: [linked] };
  const vm = await boot({ software: [allowed] });
  expect(await output(vm, "linked x; find /opt/agent-vm/software -name key")).toBe("runs x\n");
  fs.symlinkSync("../../other", path.join(app, "node_modules/other"));
  await refused({ ...agent(packageDir, "tool", "other"), allowLinks: [linked] }, other);
  // Nor does a path that only begins with the same characters match, and a link does not name a link.
  fs.symlinkSync("../../linked-too", path.join(app, "node_modules/too"));
  write(path.join(at, "linked-too"), { name: "too" });
  await refused({ ...agent(packageDir, "too"), allowLinks: [linked] }, "linked-too");
  fs.symlinkSync("linked", path.join(at, "alias"));
  await refused({ ...agent(packageDir, "tool"), allowLinks: [path.join(at, "alias")] }, "alias", linked);
});

test("a chain of links, a link to a file, and a scope that is a link are refused where they leave node_modules", async () => {
  const at = temporaryDirectory();
  write(path.join(at, "secret"), { name: "zz" }, { key: "secret" });
  write(path.join(at, "scope/one"), { name: "@scope/one" });
  const modules = path.join(at, "app/node_modules");
  const packageDir = write(path.join(modules, "tool"), { name: "tool" });
  fs.symlinkSync("./hop", path.join(modules, "chain"));
  fs.symlinkSync("../../secret", path.join(modules, "hop"));
  fs.symlinkSync("../../secret/key", path.join(modules, "file"));
  fs.symlinkSync("../../scope", path.join(modules, "@scope"));
  for (const name of ["chain", "file", "@scope/one", "hop"]) {
    await refused(agent(packageDir, name), name.split("/")[0], "allowLinks");
  }
  // A link that no package depends on is not followed: in the VM it leads nowhere.
  const vm = await boot({ software: [agent(packageDir, "tool")] });
  expect((await vm.exec("cat /opt/agent-vm/software/node_modules/hop/key")).exitCode).toBe(1);
});

test("a project that names itself is not shown whole", async () => {
  const at = temporaryDirectory();
  const app = write(path.join(at, "app"), { name: "app", dependencies: { tool: "1" } }, { ".env": "secret" });
  write(path.join(app, "node_modules/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli });
  await refused(agent(app, "app"), app, "allowLinks");
  expect(await output(await boot({ software: [agent(app, "tool")] }), "tool x")).toBe("runs x\n");
  // Nor as a dependency of another package, and a workspace's root is not a member of the workspace.
  write(app, { name: "app", workspaces: ["**", "packages/*", "."] });
  fs.symlinkSync("..", path.join(app, "node_modules/app"));
  await refused(agent(path.join(app, "node_modules/tool"), "app"), "node_modules/app");
});

test("the members of npm's and pnpm's workspaces depend on each other by links", async () => {
  for (const kind of ["npm", "pnpm"]) {
    const root = path.join(temporaryDirectory(), "workspace");
    write(root, {
      name: "root",
      private: true,
      ...(kind === "npm" && { workspaces: ["packages/*", "!packages/private"] }),
    });
    if (kind === "pnpm") {
      fs.writeFileSync(
        path.join(root, "pnpm-workspace.yaml"),
        'packages:\n  # all\n  - "packages/*"\n  - "!packages/private"\n',
      );
    }
    fs.writeFileSync(path.join(root, ".env"), "secret");
    const tool = write(
      path.join(root, "packages/tool"),
      { name: "tool", version: "1.0.0", bin: "cli.js", dependencies: { lib: "1.0.0" } },
      { "cli.js": '#!/usr/bin/env node\nconsole.log(require("lib"))\n' },
    );
    write(path.join(root, "packages/lib"), { name: "lib", version: "1.0.0" }, { "index.js": 'module.exports = "lib"' });
    write(path.join(root, "packages/private"), { name: "private", version: "1.0.0" }, { key: "secret" });
    if (kind === "npm") {
      await run("npm", ["install", ...flags, `--cache=${path.join(root, ".cache")}`], { cwd: root });
    } else {
      fs.mkdirSync(path.join(tool, "node_modules"));
      fs.symlinkSync("../../lib", path.join(tool, "node_modules/lib"));
      fs.mkdirSync(path.join(root, "node_modules"));
      fs.symlinkSync("../packages/tool", path.join(root, "node_modules/tool"));
    }
    const vm = await boot({ software: [agent(tool, "tool")] });
    expect([kind, await output(vm, "tool")]).toEqual([kind, "lib\n"]);
    expect(await output(vm, "find /opt/agent-vm/software/ -name .env -o -name key -o -name private.json")).toBe("");
    // A member under another name, and directories that the patterns exclude.
    for (const [name, target] of [
      ["alias", "lib"],
      ["private", "private"],
    ]) {
      const link = path.join(root, "node_modules", name);
      fs.rmSync(link, { force: true });
      fs.symlinkSync(`../packages/${target}`, link);
      await refused(agent(tool, "tool", name), link);
    }
  }
});

test("a node_modules that became a link shows nothing of where it leads, also to a description that was used before", async () => {
  const at = temporaryDirectory();
  const app = write(path.join(at, "app"), { name: "app" });
  const packageDir = write(path.join(app, "node_modules/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli });
  write(path.join(at, "secret/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli, key: "secret" });
  const used = agent(packageDir, "tool");
  expect(await output(await boot({ software: [used] }), "tool x")).toBe("runs x\n");
  fs.renameSync(path.join(app, "node_modules"), path.join(app, "nm2"));
  fs.symlinkSync(path.join(at, "secret"), path.join(app, "node_modules"));
  await refused(used, "link", path.join(app, "node_modules"));
  await refused(agent(packageDir, "tool"), "link", path.join(app, "node_modules"));
  // Nor further up.
  fs.rmSync(path.join(app, "node_modules"));
  fs.renameSync(path.join(app, "nm2"), path.join(app, "node_modules"));
  expect(await output(await boot({ software: [used] }), "tool x")).toBe("runs x\n");
  fs.renameSync(app, path.join(at, "moved"));
  fs.symlinkSync("moved", app);
  await refused(used, "link", app);
  await refused(agent(packageDir, "tool"), "link", app);
});

test("software that a VM of this server can write to is refused, for that VM and for others", async () => {
  const at = temporaryDirectory();
  const app = write(path.join(at, "app"), { name: "app" });
  const packageDir = write(path.join(app, "node_modules/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli });
  const software = [agent(packageDir, "tool")];
  const writable = { mounts: [{ path: "/project", hostPath: app, readOnly: false }] };
  const readable = { mounts: [{ path: "/project", hostPath: app }] };
  const overlapping = async (options) => {
    const error = await rejection(AgentVm.create(options));
    expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
    for (const word of ["software", "write", path.join(app, "node_modules"), "read-only"]) {
      expect(error.message).toContain(word);
    }
  };
  await overlapping({ ...writable, software });
  await overlapping({ home: app, software });
  fs.symlinkSync("app", path.join(at, "alias"));
  await overlapping({ home: path.join(at, "alias"), software });
  await overlapping({ mounts: [{ path: "/x", hostPath: path.join(packageDir), readOnly: false }], software });
  expect(await output(await boot({ ...readable, software }), "tool x")).toBe("runs x\n");

  const first = await AgentVm.create({ software });
  await overlapping(writable);
  await first.dispose();
  // The VM above still runs until the test ends.
  await overlapping(writable);
});

test("what one VM could write can be shown as software once that VM is gone", async () => {
  const at = temporaryDirectory();
  const app = write(path.join(at, "app"), { name: "app" });
  const packageDir = write(path.join(app, "node_modules/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli });
  const software = [agent(packageDir, "tool")];
  const writer = await AgentVm.create({ mounts: [{ path: "/project", hostPath: app, readOnly: false }] });
  expect(await rejection(AgentVm.create({ software }))).toMatchObject({ code: "INVALID_ARGUMENT" });
  await writer.dispose();
  expect(await output(await boot({ software }), "tool x")).toBe("runs x\n");
});

test("files that others may not read are not readable inside, unless the server is the ordinary user who owns them", async () => {
  const at = temporaryDirectory();
  const packageDir = write(
    path.join(at, "app/node_modules/tool"),
    { name: "tool", bin: "cli.js" },
    { "cli.js": cli, private: "secret" },
  );
  fs.chmodSync(path.join(packageDir, "private"), 0o600);
  const vm = await boot({ software: [agent(packageDir, "tool")] });
  const read = await vm.exec("tool x; cat /opt/agent-vm/software/node_modules/tool/private");
  const isRoot = process.geteuid() === 0;
  expect(read).toMatchObject(isRoot ? { stdout: "runs x\n", exitCode: 1 } : { stdout: "runs x\nsecret", exitCode: 0 });
  const script = "/opt/agent-vm/software/node_modules/tool/cli.js";
  expect(await rejection(vm.writeFile(script, "x"))).toMatchObject({ code: expect.stringMatching(/^(EROFS|EACCES)$/) });
});

// Each row is a member of package.json, and whether the package can be shown with it.
const LONG = "x".repeat(300);
const strange = [
  5,
  null,
  true,
  [],
  ["cli.js"],
  { a: 5 },
  { a: null },
  { a: ["x"] },
  LONG,
  "a\0b",
  "a\nb",
  "..",
  "../../x",
  "/etc/passwd",
  "",
];
const names = [LONG, "a\0b", "a\nb", "\u009b", "..", ".", "a/b", "/bin/a", "__proto__", ""];

test.each(["name", "version", "bin", "dependencies", "optionalDependencies", "peerDependencies", "workspaces"])(
  "a package.json whose %s is of any shape is shown or refused with what is wrong",
  async (member) => {
    const at = temporaryDirectory();
    const modules = path.join(at, "node_modules");
    const values = [
      ...strange,
      ...names.map((name) => ({ [name]: "cli.js" })),
      JSON.parse('{"__proto__": {"a": "b"}}'),
    ];
    for (const value of values) {
      const packageDir = path.join(modules, "tool");
      write(packageDir, { name: "tool", bin: "cli.js", [member]: value }, { "cli.js": cli });
      const software = [agent(packageDir, "tool")];
      const ended = await AgentVm.create({ software }).then(
        (vm) => vm.dispose().then(() => "shown"),
        ({ name, code, message }) => [name, code, /software|bin/.test(message), /\p{Cc}/u.test(message)],
      );
      const refusal = ["AgentVmError", "INVALID_ARGUMENT", true, false];
      expect({ member, value, ended }).toEqual({ member, value, ended: ended === "shown" ? "shown" : refusal });
    }
  },
  120_000,
);

test("a package.json that is a FIFO, a directory, no JSON or huge is as if it were not there", async () => {
  const at = temporaryDirectory();
  const packageDir = write(path.join(at, "node_modules/tool"), { name: "tool", bin: "cli.js" }, { "cli.js": cli });
  const manifest = path.join(packageDir, "package.json");
  const forms = [
    () => run("mkfifo", [manifest]),
    () => fs.mkdirSync(manifest),
    () => fs.writeFileSync(manifest, "{"),
    () => fs.writeFileSync(manifest, "[".repeat(1_000_000)),
    () => fs.writeFileSync(manifest, "[]"),
    () => fs.writeFileSync(manifest, JSON.stringify({ name: "tool", bin: "cli.js", long: "x".repeat(5_000_000) })),
  ];
  for (const make of forms) {
    fs.rmSync(manifest, { recursive: true });
    await make();
    const vm = await AgentVm.create({ software: [agent(packageDir, "tool")] });
    expect((await vm.exec("tool")).exitCode).toBe(127);
    await vm.dispose();
  }
});

test.each([
  ["a command's name with a line break", { commands: ["a\nb"] }],
  ["a command's name of 256 bytes", { commands: ["x".repeat(256)] }],
  ["a command's name of dots", { commands: [".."] }],
  ["an alias with a control character", { commands: [], aliases: { "\u009b": "x" } }],
  ["a path with a NUL byte", { type: "agent", packageDir: "/x\0", requires: [] }],
  ["a directory of commands with a NUL byte", { commandDir: "/x\0" }],
  ["allowLinks that are text", { type: "agent", packageDir: "/x", requires: [], allowLinks: "/x" }],
  ["allowLinks that are relative", { type: "agent", packageDir: "/x", requires: [], allowLinks: ["x"] }],
])("%s is an invalid argument", async (_, one) => {
  const error = await rejection(AgentVm.create({ software: [one] }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
  expect(error.message).toContain("software");
});

test("a file of commands whose name has a line break is refused", async () => {
  const commandDir = temporaryDirectory();
  fs.writeFileSync(path.join(commandDir, "a\nb"), "");
  const error = await rejection(AgentVm.create({ software: [{ commandDir }] }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "INVALID_ARGUMENT" });
});
