// Builds everything that index.js loads: the addon, the init binary that it boots VMs with, and rivetkit/'s JavaScript.
// Options: --debug; --target TRIPLE to cross-compile (with the linker that cargo needs for it configured).
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { platforms } from "./platforms.mjs";
import { root, step } from "./step.mjs";

const { values: options } = parseArgs({ options: { debug: { type: "boolean" }, target: { type: "string" } } });
const host = platforms.find((platform) => platform.cpu === process.arch);
const platform = options.target ? platforms.find(({ triple }) => triple === options.target) : host;
if (!platform) {
  console.error(`Builds for ${platforms.map(({ triple }) => triple).join(" and ")}, not for this.`);
  process.exit(1);
}
const profile = options.debug ? [] : ["--release"];

/** Puts a built file in its place by renaming: one that a running process has mapped must not be written over. */
function place(built, name) {
  const to = join(root, name);
  if (existsSync(to) && readFileSync(to).equals(readFileSync(built))) return;
  copyFileSync(built, `${to}.new`);
  renameSync(`${to}.new`, to);
}

// index.js and index.d.ts are written by hand: the loader and the types that napi would generate stay in target/.
mkdirSync(join(root, "target/addon"), { recursive: true });
const napi = ["build", "--platform", "--no-js", "--dts", "native.d.ts", "--output-dir", "target/addon"];
step("napi", [...napi, ...profile, ...(options.target ? ["--target", platform.triple] : [])]);
place(join(root, "target/addon", platform.addon), platform.addon);

// Init runs where the VM has no dynamic loader yet, so it is static. Only with an explicit target are the flags kept
// from procedural macros, which cannot be.
step("cargo", ["build", ...profile, "--package", "agent-vm-init", "--target", platform.triple], {
  env: { RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} -C target-feature=+crt-static`.trim() },
});
place(join(root, "target", platform.triple, options.debug ? "debug" : "release", "agent-vm-init"), platform.init);

if (existsSync(join(root, "rivetkit/tsconfig.json"))) {
  step("tsc", ["--project", "rivetkit"]);
}
