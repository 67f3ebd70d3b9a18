// Puts a report into the documents: five rows into README.md, the whole table into docs/comparison.md, the plot into
// docs/bench.svg, and the report into docs/bench.json: `node bench/readme.mjs REPORT.json`. Measures nothing. `--check`
// fails unless the documents match docs/bench.json.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { metrics } from "./metrics/index.mjs";
import { plot } from "./plot.mjs";
import { circumstances, nameOf, number } from "./report.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** With a no-break space in between. */
const withUnit = (value, unit) => `${number(value)}\u00a0${unit}`;

/** The whole table: a row for each metric, and a column for each peer. */
function table(report) {
  const rows = Object.values(report.metrics).map(({ title, unit, contenders }) => {
    const others = Object.entries(contenders)
      .filter(([contender, { failed }]) => contender !== "agent-vm" && !failed)
      .map(([contender, { median }]) => `${nameOf(contender)}: ${number(median)}`);
    return `| ${title} | ${withUnit(contenders["agent-vm"].median, unit)} | ${others.join(", ")} |`.replace(
      "|  |",
      "| |",
    );
  });
  return ["| what | agent-vm | others |", "| --- | --- | --- |", ...rows].join("\n");
}

const shown = {
  metrics: ["exec", "execParallel", "boot", "firstCommand", "idleMemory100"],
  peers: ["child_process", "bwrap", "agentos-0.2"],
};

/** The rows of README: a column for each peer, empty if it lacks the feature. */
function summary(report) {
  const rows = shown.metrics.map((name) => {
    const { title, unit, contenders } = report.metrics[name];
    const values = ["agent-vm", ...shown.peers].map((peer) => contenders[peer]?.median);
    const cells = values.map((value) => (value === undefined ? " " : ` ${withUnit(value, unit)} `));
    return `| ${title} |${cells.join("|")}|`;
  });
  const names = ["", "agent-vm", ...shown.peers.map(nameOf)];
  const head = `| ${names.join(" | ")} |`.replace("|  |", "| |");
  const rule = `|${" --- |".repeat(names.length)}`;
  return `${[head, rule, ...rows].join("\n")}\n\n${sentence(circumstances(report))}. ${nature}`;
}

const sentence = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

const nature = "child_process isolates nothing; agentOS runs WebAssembly, not Linux programs.";

/** Only a report with all measurements may be published. */
function checkWhole(report) {
  const missing = Object.keys(metrics).filter(
    (name) => report.metrics[name]?.contenders["agent-vm"].median === undefined,
  );
  if (missing.length === 0) return;
  throw new Error(`the report should be of a whole \`npm run bench\`; it lacks agent-vm's ${missing.join(", ")}`);
}

/** The contenders that could not run, and why. */
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
  return sentence(text);
}

const picture = (path) =>
  `![How many times better agent-vm is than each of its peers, on a logarithmic scale](${path})`;

/** Puts `content` between the two marks called `name`. */
function replacePart(file, document, name, content) {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} must contain ${begin} and, after it, ${end}`);
  return `${document.slice(0, from + begin.length)}\n\n${content}\n\n${document.slice(to)}`;
}

const [readme, comparison, svg, data] = ["README.md", "docs/comparison.md", "docs/bench.svg", "docs/bench.json"];
const place = (file) => join(root, file);
const read = (file) => readFileSync(place(file), "utf8");

/** The contents of all files that include a report, by file name. */
function published(report) {
  const parts = [
    [readme, "bench:summary", summary(report)],
    [readme, "bench:plot", picture("docs/bench.svg")],
    [comparison, "bench:table", `${table(report)}\n\n${remarks(report)}`],
    [comparison, "bench:plot", picture("bench.svg")],
  ];
  const files = { [readme]: read(readme), [comparison]: read(comparison), [svg]: plot(report) };
  for (const [file, name, content] of parts) files[file] = replacePart(file, files[file], name, content);
  return files;
}

/** Writes these files, and the report. */
export function publish(report) {
  checkWhole(report);
  for (const [file, text] of Object.entries(published(report))) writeFileSync(place(file), text);
  writeFileSync(place(data), `${JSON.stringify(report, null, 2)}\n`);
}

/** Fails if a published part was edited by hand. */
function verify() {
  const wanted = Object.entries(published(JSON.parse(read(data))));
  const others = wanted.filter(([file, text]) => read(file) !== text).map(([file]) => file);
  if (others.length === 0) return;
  console.error(`${others.join(", ")} must be what ${data} gives: node bench/readme.mjs ${data}`);
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
