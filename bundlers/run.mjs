// Tests the package with the bundlers and runtimes of package.json: `npm run test:bundlers`. Each run makes a directory
// in which npm installs them, the packages as they would be published, and the files that docs/bundlers.md prints. As
// root it does so twice, the second time as an ordinary user. Arguments are files to run instead of all: `npm run
// test:bundlers -- next`. The tests use node:test: they run from that directory, where the second user cannot read the
// checkout.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { root, step } from "../scripts/step.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** A user without an entry in /etc/passwd. */
const ORDINARY_USER = 1500;

const flags = ["--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];

/** The files that the document prints: a block whose first line is a comment with a name is that file. */
function printedFiles() {
  const text = readFileSync(join(root, "docs/bundlers.md"), "utf8");
  const blocks = Array.from(text.matchAll(/^```\w+\n\/\/ (\S+)\n([^]*?)^```$/gm), ([, name, code]) => [name, code]);
  if (blocks.length === 0) throw new Error("docs/bundlers.md prints no files");
  return blocks;
}

/** The tests to run: all, or those whose names begin with one of the arguments. */
function chosenTests() {
  const all = readdirSync(here).filter((name) => name.endsWith(".test.mjs"));
  const wanted = process.argv.slice(2);
  const chosen = wanted.length === 0 ? all : all.filter((name) => wanted.some((begin) => name.startsWith(begin)));
  if (chosen.length === 0)
    throw new Error(`There are ${all.join(", ")}, none of which begins with ${wanted.join(" or ")}`);
  return chosen;
}

/** Installs everything and runs the tests with the ids of `user`, or with those of this process if there is none. */
function tryAs(user, tarballs, tests) {
  const work = mkdtempSync(join(tmpdir(), "agent-vm-bundlers-"));
  const ids = user === undefined ? {} : { uid: user, gid: user };
  const app = join(work, "app");
  const env = {
    CI: "true",
    HOME: join(work, "home"),
    LANG: "C.UTF-8",
    NEXT_TELEMETRY_DISABLED: "1",
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    TMPDIR: join(work, "tmp"),
  };
  const run = (command, ...args) => {
    console.log(`$ ${[command, ...args].join(" ")}`);
    const stdio = ["ignore", "inherit", "inherit"];
    const { status, signal, error } = spawnSync(command, args, { ...ids, cwd: app, env, stdio });
    if (error) console.error(error.message);
    return status ?? signal ?? 127;
  };
  try {
    for (const name of ["app", "home", "tmp"]) mkdirSync(join(work, name));
    for (const name of ["package.json", "package-lock.json"]) copyFileSync(join(here, name), join(app, name));
    for (const [name, code] of printedFiles()) {
      mkdirSync(dirname(join(app, name)), { recursive: true });
      writeFileSync(join(app, name), code);
    }
    cpSync(join(here, "app"), app, { recursive: true });
    for (const name of ["fixture.mjs", ...tests]) copyFileSync(join(here, name), join(app, name));
    for (const name of readdirSync(tarballs)) copyFileSync(join(tarballs, name), join(work, name));
    if (user !== undefined) {
      for (const entry of readdirSync(work, { recursive: true, withFileTypes: true })) {
        chownSync(join(entry.parentPath, entry.name), user, user);
      }
      chownSync(work, user, user);
    }
    chmodSync(work, 0o755);
    console.log(`=== as ${user === undefined ? "this user" : `user ${user}`}, in ${work}`);
    // Not `npm ci`: it also requires rivetkit's programs for other platforms in the lock file, and not all of those are
    // published.
    const packages = readdirSync(tarballs).map((name) => join("..", name));
    if (run("npm", "install", ...flags, ...packages) !== 0) return false;
    // One at a time, because each build uses all processors.
    return run(process.execPath, "--test", "--test-concurrency=1", ...tests) === 0;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const tests = chosenTests();
const tarballs = mkdtempSync(join(tmpdir(), "agent-vm-bundlers-tarballs-"));
try {
  step(process.execPath, [join(root, "scripts/pack.mjs"), "--destination", tarballs]);
  let good = tryAs(undefined, tarballs, tests);
  if (process.getuid() === 0) good = tryAs(ORDINARY_USER, tarballs, tests) && good;
  process.exitCode = good ? 0 : 1;
} finally {
  rmSync(tarballs, { recursive: true, force: true });
}
