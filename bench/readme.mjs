// Puts a report into README, as its table and as its plot: `node bench/readme.mjs REPORT.json`. Nothing is measured.
// `--check` tells whether README and plot are what the report that lies beside them gives.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { metrics } from "./metrics/index.mjs";
import { plot } from "./plot.mjs";
import { circumstances, nameOf, number } from "./report.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Metric by metric, beside each other with what the peers have. */
function table(report) {
  const rows = Object.values(report.metrics).map(({ title, unit, contenders }) => {
    const others = Object.entries(contenders)
      .filter(([contender, { failed }]) => contender !== "agent-vm" && !failed)
      .map(([contender, { median }]) => `${nameOf(contender)} ${number(median)}`);
    return `| ${title} | ${number(contenders["agent-vm"].median)} ${unit} | ${others.join(", ")} |`.replace(
      "|  |",
      "| |",
    );
  });
  return ["| what | agent-vm | beside it |", "| --- | --- | --- |", ...rows].join("\n");
}

/** README's is a report of everything that is measured. */
function checkWhole(report) {
  const missing = Object.keys(metrics).filter(
    (name) => report.metrics[name]?.contenders["agent-vm"].median === undefined,
  );
  if (missing.length === 0) return;
  throw new Error(`the report should be of a whole \`npm run bench\`; it lacks agent-vm's ${missing.join(", ")}`);
}

/** Who could not run, and why. */
function absent(report) {
  const reasons = new Map();
  for (const { contenders } of Object.values(report.metrics)) {
    for (const [contender, { failed }] of Object.entries(contenders)) if (failed) reasons.set(contender, failed);
  }
  return [...reasons].map(([contender, reason]) => ` ${nameOf(contender)} could not run there: ${reason}.`).join("");
}

function remarks(report) {
  const { versions, machine } = report;
  const peers = [
    ...["bubblewrap", "execa", "node-pty"].map((name) => [name, name]),
    ["sandbox-runtime", "@anthropic-ai/sandbox-runtime"],
    ["agentOS", "@rivet-dev/agent-os-core"],
    ["agentOS", "@rivet-dev/agentos-core"],
  ];
  const measured = peers.filter(([, name]) => versions[name]).map(([peer, name]) => `${peer} ${versions[name]}`);
  const text =
    `${circumstances(report)}, ${machine.cpu};\n${measured.join(", ")}.${absent(report)}\n` +
    "child_process, execa, node-pty and fs.promises isolate nothing; agentOS runs WebAssembly, not Linux programs.";
  return text.replace(/^./, (letter) => letter.toUpperCase());
}

const picture = "![How many times better agent-vm is than each of its peers, on a logarithmic scale](docs/bench.svg)";

/** Puts `content` between the two marks that bear that name. */
function replacePart(document, name, content) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README should have ${begin} and, behind it, ${end}`);
  return `${document.slice(0, from + begin.length)}\n\n${content}\n\n${document.slice(to)}`;
}

/** What README and docs/bench.svg are with a report in them. */
function published(report, readme) {
  const withTable = replacePart(readme, "bench:table", `${table(report)}\n\n${remarks(report)}`);
  return { readme: replacePart(withTable, "bench:plot", picture), svg: plot(report) };
}

const place = (name) => join(root, name);

/** What is in the project now. */
const present = () => ({
  readme: readFileSync(place("README.md"), "utf8"),
  svg: readFileSync(place("docs/bench.svg"), "utf8"),
});

/** Writes them, and the report beside them. */
export function publish(report) {
  checkWhole(report);
  const { readme, svg } = published(report, readFileSync(place("README.md"), "utf8"));
  writeFileSync(place("README.md"), readme);
  writeFileSync(place("docs/bench.svg"), svg);
  writeFileSync(place("docs/bench.json"), `${JSON.stringify(report, null, 2)}\n`);
}

/** That nothing of what is published was written by hand. */
function verify() {
  const now = present();
  const wanted = published(JSON.parse(readFileSync(place("docs/bench.json"), "utf8")), now.readme);
  if (now.readme === wanted.readme && now.svg === wanted.svg) return;
  console.error(
    "README.md and docs/bench.svg should be what docs/bench.json gives: node bench/readme.mjs docs/bench.json",
  );
  process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [report] = process.argv.slice(2);
  if (report === undefined) {
    console.error("Usage: node bench/readme.mjs REPORT.json, one that `npm run bench` has written, or --check");
    process.exit(2);
  }
  try {
    if (report === "--check") verify();
    else publish(JSON.parse(readFileSync(report, "utf8")));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
