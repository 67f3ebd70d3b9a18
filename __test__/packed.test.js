"use strict";
// The packages as published, in an empty directory, without a registry and without Rust.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const { install, nodeOf, pack, run } = require("./fixture/packages");
const { root } = require("./fixture/project");
const manifest = require("../package.json");

let directory;
let tarballs;
let app;
beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "agent-vm-packed-"));
  fs.mkdirSync(path.join(directory, "tarballs"));
  tarballs = await pack(path.join(directory, "tarballs"));
  app = path.join(directory, "app");
  await install(app, tarballs.main, tarballs.platform);
  const use = `const vm = await AgentVm.create();
    console.log((await vm.exec("echo $(node --version) $(id -un)")).stdout.trim()); await vm.dispose();`;
  fs.writeFileSync(path.join(app, "use.mjs"), `import { AgentVm } from "agent-vm"; ${use}`);
  fs.writeFileSync(path.join(app, "use.cjs"), `const { AgentVm } = require("agent-vm"); (async () => { ${use} })();`);
}, 120_000);

afterAll(() => fs.rmSync(directory, { recursive: true, force: true }));

describe.each(["20", "22", "24"])("on Node %s", (major) => {
  const node = nodeOf(major);
  const version = async () => (await run(node, ["--version"])).stdout.trim();

  test.each(["use.mjs", "use.cjs"])("%s gets a VM, with that Node inside", async (script) => {
    expect(await version()).toMatch(new RegExp(`^v${major}\\.`));
    expect((await run(node, [script], { cwd: app })).stdout).toBe(`${await version()} user\n`);
  });

  test("the command that npm installed runs a program", async () => {
    const env = { ...process.env, PATH: `${path.dirname(node)}:${process.env.PATH}` };
    const command = path.join(app, "node_modules/.bin/agent-vm");
    const { stdout } = await run(command, ["run", "--", "node", "--print", "process.version"], { env });
    expect(stdout).toBe(`${await version()}\n`);
  });
});

test("the tarballs hold what is needed, and nothing of how it is made", async () => {
  const files = async (tarball) =>
    (await run("tar", ["--list", "--gzip", "--file", tarball])).stdout
      .trim()
      .split("\n")
      .map((name) => name.replace("package/", ""))
      .toSorted();
  const target = `linux-${process.arch}-gnu`;
  expect(await files(tarballs.platform)).toEqual(
    [
      "LICENSE-APACHE",
      "LICENSE-MIT",
      "README.md",
      `agent-vm-init.${target}`,
      `agent-vm.${target}.node`,
      "package.json",
    ].toSorted(),
  );
  const main = await files(tarballs.main);
  for (const name of ["index.js", "index.d.ts", "bin/agent-vm.js", "README.md", "LICENSE-MIT", "LICENSE-APACHE"]) {
    expect(main).toContain(name);
  }
  const directories = new Set(main.map((name) => name.split("/")).flatMap(([first, rest]) => (rest ? [first] : [])));
  expect([...directories].toSorted()).toEqual(["bin", "dist", "lib"]);
});

test("scripts/try-tarballs.mjs installs the tarballs into an empty directory and uses them", async () => {
  const script = path.join(root, "scripts/try-tarballs.mjs");
  const { stdout } = await run(process.execPath, [script, path.join(directory, "tarballs")]);
  expect(stdout).toMatch(/: installed and used\n$/);
}, 120_000);

test("without the platform's package, loading says where it runs and what to do", async () => {
  const bare = path.join(directory, "bare");
  await install(bare, tarballs.main);
  const script = `import("agent-vm").catch(({ name, code, message }) => console.log(JSON.stringify({ name, code, message })))`;
  const { stdout } = await run(process.execPath, ["--eval", script], { cwd: bare });
  expect(JSON.parse(stdout)).toMatchObject({ name: "AgentVmError", code: "ISOLATION_UNAVAILABLE" });
  for (const words of [`linux-${process.arch}`, "x64 and arm64", "glibc", "npm install agent-vm", "--omit=optional"]) {
    expect(JSON.parse(stdout).message).toContain(words);
  }
  expect(JSON.parse(stdout).message).not.toContain("bundled");
});

test("with a binary that the system cannot load, loading says which, why, and what to do", async () => {
  const broken = path.join(directory, "broken");
  await install(broken, tarballs.main, tarballs.platform);
  const target = `linux-${process.arch}-gnu`;
  const addon = path.join(broken, `node_modules/agent-vm-${target}/agent-vm.${target}.node`);
  fs.truncateSync(addon, 0);
  const script = `import("agent-vm").catch(({ code, message, path }) => console.log(JSON.stringify({ code, message, path })))`;
  const error = JSON.parse((await run(process.execPath, ["--eval", script], { cwd: broken })).stdout);
  expect(error).toMatchObject({ code: "ISOLATION_UNAVAILABLE", path: fs.realpathSync(addon) });
  for (const words of ["cannot be loaded: ", "file too short", "glibc, not musl", "install agent-vm again"]) {
    expect(error.message).toContain(words);
  }
});

test("publint finds nothing wrong", async () => {
  const publint = path.join(root, "node_modules/publint/src/cli.js");
  const { stdout } = await run(process.execPath, [publint, "run", tarballs.main, "--strict"]);
  expect(stdout).toContain("All good!");
});

test("TypeScript finds the types of every entry", async () => {
  const attw = path.join(root, "node_modules/@arethetypeswrong/cli/dist/index.js");
  const flags = ["--profile", "node16", "--ignore-rules", "cjs-resolves-to-esm", "--format", "json"];
  const { stdout } = await run(process.execPath, [attw, tarballs.main, ...flags]);
  const { analysis, problems } = JSON.parse(stdout);
  expect(analysis.types).toEqual({ kind: "included" });
  expect(Object.keys(analysis.entrypoints)).toEqual(expect.arrayContaining([".", "./rivetkit", "./client"]));
  // The actor and the client are ES modules, which CommonJS loads by import(); and node10 does not know `exports`.
  const wrong = Object.values(problems ?? {})
    .flat()
    .filter(({ kind, resolutionKind }) => kind !== "CJSResolvesToESM" && resolutionKind !== "node10");
  expect(wrong).toEqual([]);
});

test("the versions of all packages are in step", () => {
  for (const name of fs.readdirSync(path.join(root, "npm"))) {
    const platform = JSON.parse(fs.readFileSync(path.join(root, "npm", name, "package.json"), "utf8"));
    expect(platform).toMatchObject({ name: `agent-vm-${name}`, version: manifest.version, license: manifest.license });
    expect(platform.engines).toEqual(manifest.engines);
  }
});
