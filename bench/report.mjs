import { ratio } from "./statistics.mjs";

/** Adds to a metric's results how agent-vm compares, and whether it reaches the target. */
export function compare({ unit, wanted = {} }, contenders) {
  const ours = contenders["agent-vm"];
  if (ours?.median === undefined) return { ratios: {}, verdict: "not measured" };
  const ratios = {};
  for (const [name, theirs] of Object.entries(contenders)) {
    if (name !== "agent-vm" && theirs.median !== undefined) ratios[name] = ratio(ours, theirs);
  }
  const misses = [];
  for (const name of [wanted.against ?? []].flat()) {
    const against = ratios[name];
    if (against === undefined) misses.push(`no ${name} to compare with`);
    if (against > wanted.atMost) misses.push(`wanted at most ${wanted.atMost} × ${name}`);
    if (against < wanted.atLeast) misses.push(`wanted at least ${wanted.atLeast} × ${name}`);
  }
  if (ours.median > wanted.value) misses.push(`wanted at most ${wanted.value} ${unit}`);
  return { ratios, verdict: misses.length ? misses.join("; ") : "ok" };
}

/** Formats with three digits. */
export const number = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** Titles are Markdown; this removes the marks for a terminal and a picture. */
export const plain = (title) => title.replaceAll("`", "");

const names = {
  "agent-vm-events": "agent-vm's events",
  bwrap: "bubblewrap",
  "agentos-0.1": "agentOS 0.1",
  "agentos-0.2": "agentOS 0.2",
};

/** The name of a contender in published texts. */
export const nameOf = (contender) => names[contender] ?? contender;

/** How, where and when a report was measured. */
export function circumstances({ rounds, machine, versions, date }) {
  const medians = rounds === 1 ? "one round" : `medians of ${rounds} rounds`;
  const system = `${machine.cores} cores, Linux ${machine.kernel.split("-")[0]}, Node.js ${versions.node.slice(1)}`;
  return `${medians}, ${system}, ${machine.root ? "as root" : "as an ordinary user"}, ${date.slice(0, 10)}`;
}

/** One line for each contender; the ratio is agent-vm's value divided by the contender's. */
export function lines({ title, unit }, { contenders, ratios, verdict }) {
  const rows = Object.entries(contenders).map(([name, result]) => {
    if (result.failed) return `  ${name.padEnd(16)} cannot run here: ${result.failed}`;
    const extra = Object.entries(result.extra).map(([what, value]) => `${what}: ${number(value)}`);
    const by = ratios[name] === undefined ? "" : number(ratios[name]);
    const [middle, worst] = [number(result.median), number(result.p99)].map((text) => text.padStart(9));
    // The p99 of a rate would be its best value, and with only a few samples it means nothing.
    const p99 = result.samples >= 100 ? worst : "".padStart(9);
    return `  ${name.padEnd(16)}${middle}${p99}${by.padStart(9)}   ${extra.join(", ")}`.trimEnd();
  });
  return [`${plain(title)}, ${unit} — ${verdict}`, ...rows, ""];
}

export const heading = `  ${"".padEnd(16)}${["median", "p99", "ratio"].map((word) => word.padStart(9)).join("")}\n`;
