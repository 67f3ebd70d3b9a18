// Installs what building and testing need, on a fresh clone or an old one. Does nothing if nothing is missing.
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { missingPackages } from "./debian-packages.mjs";
import { output, root, step } from "./step.mjs";

function refuse(message) {
  console.error(message);
  process.exit(1);
}

function older(version, wanted) {
  const [a, b] = [version, wanted].map((text) => text.split(".").map(Number));
  return a[0] !== b[0] ? a[0] < b[0] : (a[1] ?? 0) < (b[1] ?? 0);
}

function installNodeModules() {
  // npm writes this copy of the lock file last, so it is missing after an interrupted install.
  const installed = join(root, "node_modules/.package-lock.json");
  const lock = join(root, "package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  // Some of rivetkit's dependencies would compile C++ for features that are not used here. Its newest parts require
  // Node.js 22 and warn under 20, although the parts used here run on it.
  step("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
}

/**
 * Installs the other Node.js versions that the packages are tested on. The tests of `network` also run one of them in a
 * VM if this Node.js is older than `NODE_USE_ENV_PROXY` (22.21).
 */
function installOtherNodes() {
  const name = `node-linux-${process.arch}`;
  const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  for (const version of ["20", "22.23.3", "24"]) {
    const major = version.split(".")[0];
    if (process.versions.node.startsWith(`${major}.`) && !older(process.versions.node, version)) continue;
    const directory = join(root, `node_modules/.cache/agent-vm/node-${major}`);
    if (existsSync(join(directory, "node_modules", name, "bin/node"))) continue;
    step("npm", ["install", "--prefix", directory, ...flags, `${name}@${version}`]);
  }
}

function checkRust() {
  const wanted = /^rust-version = "(.+)"/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8"))[1];
  const cargo = output("cargo", ["--version"]);
  const version = /\d+\.\d+/.exec(cargo ?? "")?.[0];
  if (version && !older(version, wanted)) return;
  if (!version && output("rustup", ["--version"]) !== null) {
    refuse("rustup does not have the Rust toolchain that rust-toolchain.toml names. Run: rustup toolchain install");
  }
  refuse(
    `agent-vm is built with Rust ${wanted} or later; ${version ? `here is ${version}` : "there is no cargo here"}.\n` +
      "Install it from https://rustup.rs, then run this again.",
  );
}

function installDebianPackages() {
  const lists = ["debian-packages.txt", ...(process.argv.includes("--programs") ? ["debian-programs.txt"] : [])];
  const list = lists.map((name) => readFileSync(join(root, "scripts", name), "utf8")).join("\n");
  const missing = missingPackages(list);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(" ");
  const why = missing.map((one) => `  ${one.name}: ${one.why}`).join("\n");
  const install = `apt-get install --yes --no-install-recommends ${names}`;
  if (process.getuid() !== 0) refuse(`Missing for the tests:\n${why}\nAs root: apt-get update && ${install}`);
  if (output("apt-get", ["--version"]) === null) {
    refuse(`Missing for the tests, and this is no Debian, where these packages have it:\n${why}`);
  }
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  step("apt-get", ["update", "--quiet=2"], { env });
  step("apt-get", ["--quiet=2", ...install.split(" ").slice(1)], { env });
  const still = missingPackages(list);
  if (still.length > 0) {
    refuse(`Installed, and yet:\n${still.map((one) => `  ${one.name}: ${one.why}`).join("\n")}`);
  }
}

if (older(process.versions.node, "20.0")) refuse(`agent-vm needs Node 20 or later; this is ${process.versions.node}.`);
checkRust();
installNodeModules();
installOtherNodes();
installDebianPackages();
