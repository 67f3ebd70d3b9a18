// Installs the tarballs of a directory into an empty one and uses them, as a user of the packages would: `node
// scripts/try-tarballs.mjs DIRECTORY`. As root it does so twice, the second time as an ordinary user. Needs no
// node_modules. Exits with a status other than 0 if something fails.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { platforms } from "./platforms.mjs";

/** A user without an entry in /etc/passwd. */
const ORDINARY_USER = 1500;

const USE = `
  const assert = (await import("node:assert/strict")).default;
  const vm = await AgentVm.create();
  try {
    const { exitCode, stdout } = await vm.exec("echo $(id -un) $(node --version)");
    assert.deepEqual({ exitCode, stdout }, { exitCode: 0, stdout: "user " + process.version + "\\n" });
    await vm.writeFile("/home/user/file", "written");
    assert.equal(new TextDecoder().decode(await vm.readFile("/home/user/file")), "written");
    const { pid } = await vm.spawn("cat");
    await vm.closeProcessStdin(pid);
    assert.equal(await vm.waitProcess(pid), 0);
    const { shellId } = await vm.openShell();
    await vm.writeShell(shellId, "exit 3\\n");
    assert.equal(await vm.waitShell(shellId), 3);
  } finally {
    await vm.dispose();
  }
`;
const SCRIPTS = {
  "use.mjs": `import { AgentVm } from "agent-vm";\n${USE}`,
  "use.cjs": `const { AgentVm } = require("agent-vm");\n(async () => {${USE}})();`,
};

function fail(message) {
  console.error(`try-tarballs: ${message}`);
  process.exit(1);
}

const directory = process.argv[2];
if (process.argv.length !== 3) fail("usage: node scripts/try-tarballs.mjs DIRECTORY");
const platform = platforms.find(({ cpu }) => cpu === process.arch);
const tarballs = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
const chosen = [/^agent-vm-\d/, new RegExp(`^agent-vm-${platform.name}-\\d`)].map((pattern) => {
  const found = tarballs.filter((name) => pattern.test(name));
  if (found.length !== 1) fail(`${directory} must have one tarball that matches ${pattern}, and has ${found.length}`);
  return found[0];
});

/** Installs and uses the packages with the ids of `user`, or with those of this process if there is none. */
function tryAs(user) {
  const app = mkdtempSync(join(tmpdir(), "agent-vm-try-"));
  const ids = user === undefined ? {} : { uid: user, gid: user };
  const env = {
    HOME: join(app, "home"),
    LANG: "C.UTF-8",
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    TMPDIR: join(app, "tmp"),
  };
  const step = (command, ...args) => {
    console.log(`$ ${[command, ...args].join(" ")}`);
    const stdio = ["ignore", "pipe", "inherit"];
    const { status, signal, error, stdout } = spawnSync(command, args, {
      ...ids,
      cwd: app,
      env,
      stdio,
      encoding: "utf8",
      timeout: 120_000,
    });
    process.stdout.write(stdout ?? "");
    if (status !== 0) throw new Error(`${command} ended with ${error?.message ?? signal ?? status}`);
    return stdout;
  };
  try {
    for (const name of ["home", "tmp"]) mkdirSync(join(app, name));
    for (const name of chosen) copyFileSync(join(directory, name), join(app, name));
    for (const [name, text] of Object.entries(SCRIPTS)) writeFileSync(join(app, name), text);
    writeFileSync(join(app, "package.json"), JSON.stringify({ name: "app", private: true }));
    if (user !== undefined) for (const name of [".", "home", "tmp"]) chownSync(join(app, name), user, user);
    chmodSync(app, 0o755);
    // Offline: only these tarballs are installed. The other platforms' packages are optional, and need not exist.
    const flags = ["--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"];
    step("npm", "install", ...flags, ...chosen.map((name) => `./${name}`));
    for (const script of Object.keys(SCRIPTS)) step(process.execPath, script);
    const version = step("node_modules/.bin/agent-vm", "run", "--", "node", "--version");
    if (version !== `${process.version}\n`) throw new Error(`agent-vm run printed ${JSON.stringify(version)}`);
  } finally {
    rmSync(app, { recursive: true, force: true });
  }
}

tryAs();
if (process.getuid() === 0) tryAs(ORDINARY_USER);
console.log(`${chosen.join(" and ")}: installed and used`);
