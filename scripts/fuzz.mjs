// Fuzzes one target of fuzz/ with cargo-fuzz: `npm run fuzz -- TARGET SECONDS`. It starts with the corpus in
// fuzz/corpus, adds new inputs to fuzz/found, and writes failing inputs to fuzz/artifacts.

import { mkdirSync, readdirSync } from "node:fs";
import path from "node:path";

import { root, run } from "./step.mjs";

const targets = readdirSync(path.join(root, "fuzz/fuzz_targets")).map((name) => path.parse(name).name);
const [target, seconds = "60"] = process.argv.slice(2);
if (!targets.includes(target) || !/^[1-9]\d*$/.test(seconds)) {
  console.error(`usage: npm run fuzz -- TARGET [SECONDS]; TARGET is one of ${targets.join(", ")}`);
  process.exit(2);
}
const found = path.join(root, "fuzz/found", target);
mkdirSync(found, { recursive: true });
// cargo-fuzz needs unstable compiler features, but the pinned toolchain is a stable one.
const env = { RUSTC_BOOTSTRAP: "1" };
const corpora = [found, path.join(root, "fuzz/corpus", target)];
const options = [`-max_total_time=${seconds}`, "-timeout=10", "-rss_limit_mb=2048"];
process.exit(run("cargo", ["fuzz", "run", target, ...corpora, "--", ...options], { env }));
