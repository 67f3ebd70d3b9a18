// Measures agent-vm and its peers in one run, in turn, on the same work: `npm run bench -- [METRIC…] [--rounds N]
// [--readme]`. Prints a table and writes everything to bench/results/, as JSON and as a plot; with --readme, also to
// README and docs/.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import os from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { metrics } from "./metrics/index.mjs";
import { plot } from "./plot.mjs";
import { publish } from "./readme.mjs";
import { compare, heading, lines } from "./report.mjs";
import { nodeOf, setUp, versions } from "./setup.mjs";
import { summary, together } from "./statistics.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/** A contender that takes longer than this in one metric is stopped. */
const SECONDS = 120;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "3" }, readme: { type: "boolean", default: false } },
});
const rounds = Number(values.rounds);
const unknown = positionals.filter((name) => !(name in metrics));
if (unknown.length || !(Number.isInteger(rounds) && rounds >= 1) || (values.readme && positionals.length)) {
  console.error(
    "Usage: npm run bench -- [METRIC…] [--rounds N], or with all metrics: npm run bench -- [--rounds N] --readme",
  );
  console.error(`Metrics: ${Object.keys(metrics).join(", ")}`);
  process.exit(2);
}
const chosen = positionals.length ? positionals : Object.keys(metrics);

/** The measurement of one process of a contender, or the reason why there is none. */
async function contend(metric, contender) {
  const node = nodeOf(contender);
  if (!existsSync(node)) return { failed: "needs a Node.js with node:sqlite, which `npm run setup` fetches" };
  const args = ["--expose-gc", join(here, "contend.mjs"), metric, contender];
  const child = spawn(node, args, { stdio: ["ignore", "pipe", "pipe"], timeout: SECONDS * 1000 });
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) {
    child[name].setEncoding("utf8").on("data", (text) => (printed[name] += text));
  }
  const [code, signal] = await once(child, "close");
  if (code === 0 && printed.stdout) return JSON.parse(printed.stdout);
  if (child.killed) return { failed: `not done in ${SECONDS} s` };
  const last = printed.stderr.trim().split("\n").at(-1);
  return { failed: `ended by ${signal ?? `exit code ${code}`}${last && `: ${last}`}` };
}

async function round(metric, contender) {
  const results = [];
  for (let count = metrics[metric].processes ?? 1; count > 0; count--) {
    const result = await contend(metric, contender);
    if (result.failed) return result;
    results.push(result);
  }
  return together(results);
}

async function measure(name) {
  const results = new Map(metrics[name].contenders.map((contender) => [contender, []]));
  for (let count = rounds; count > 0; count--) {
    for (const [contender, done] of results) {
      if (!done.at(-1)?.failed) done.push(await round(name, contender));
    }
  }
  const contenders = {};
  for (const [contender, done] of results) {
    const failure = done.find(({ failed }) => failed);
    contenders[contender] = failure ?? summary(done);
  }
  return { title: metrics[name].title, unit: metrics[name].unit, contenders, ...compare(metrics[name], contenders) };
}

setUp();
const cpus = os.cpus();
const machine = { kernel: os.release(), cpu: cpus[0].model, cores: cpus.length, root: process.getuid() === 0 };
const report = { date: new Date().toISOString(), machine, versions: versions(), rounds, metrics: {} };
console.log(
  `\n${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, ${machine.root ? "as root" : "as a user"}`,
);
console.log(
  `${Object.entries(report.versions)
    .map((entry) => entry.join(" "))
    .join(", ")}; ${rounds} rounds`,
);
console.log("Ratio: agent-vm's median by this contender's in each round, and of those the median.\n");
console.log(heading);
for (const name of chosen) {
  report.metrics[name] = await measure(name);
  console.log(lines(metrics[name], report.metrics[name]).join("\n"));
}

mkdirSync(join(here, "results"), { recursive: true });
const file = join(here, "results", `${report.date.replaceAll(":", "-")}.json`);
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(file.replace(/json$/, "svg"), plot(report));
console.log(file);
if (values.readme) publish(report);
const missed = Object.values(report.metrics).filter(({ verdict }) => verdict !== "ok");
console.log(missed.length ? `${missed.length} of ${chosen.length} miss what is wanted` : "Everything is as wanted");
