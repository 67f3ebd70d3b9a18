// Draws the comparison: for each metric and each peer, a bar that shows how many times better agent-vm is, on a
// logarithmic scale. It writes the SVG itself, with a background for light and for dark mode, by the reader's system
// setting.
import { circumstances, nameOf, number, plain } from "./report.mjs";

/** The metrics that get a bar, in this order. */
const shown = [
  ...["exec", "execParallel", "loopHeld", "boot", "firstBoot", "firstCommand", "firstCommandAfterPause", "spawns"],
  ...["stdout", "execText", "terminal", "keystroke", "files", "idleMemory100"],
];

const width = 960;
const peersEnd = 352;
const bars = { left: 364, right: 745 };
const line = 17;
const gap = 12;
const top = 78;
const bottom = 14;

const style = `
  text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .heading { font-size: 16px; font-weight: 600 }
  .quiet { fill: #59636e }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .even { stroke: #59636e }
  .better { fill: #0969da }
  .worse { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .ground { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }
    .even { stroke: #9198a1 }
    .better { fill: #4493f8 }
    .worse { fill: #db6d28 }
  }`;

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

const text = (x, y, content, classes = "") =>
  `<text x="${round(x)}" y="${round(y)}"${classes && ` class="${classes}"`}>${escaped(content)}</text>`;

const round = (value) => Math.round(value * 10) / 10;

/** A larger rate is better; of everything else, a smaller value is better. */
const advantage = ({ unit }, ratio) => (unit.endsWith("/s") ? ratio : 1 / ratio);

/** The metrics of a report, with the bars of each. */
function groups(report) {
  return shown
    .filter((name) => report.metrics[name])
    .map((name) => {
      const metric = report.metrics[name];
      const peers = Object.entries(metric.ratios).map(([peer, ratio]) => ({ peer, times: advantage(metric, ratio) }));
      return { metric, peers };
    })
    .filter(({ peers }) => peers.length > 0);
}

/** Wide enough for all bars, and for values on both sides of 1; with a tick at each power of ten. */
function scale(times) {
  const from = Math.log10(Math.min(0.8, ...times)) - 0.05;
  const to = Math.log10(Math.max(2, ...times)) + 0.05;
  const x = (value) => bars.left + ((Math.log10(value) - from) / (to - from)) * (bars.right - bars.left);
  const first = Math.ceil(from);
  return { x, ticks: Array.from({ length: Math.floor(to) - first + 1 }, (_, index) => 10 ** (first + index)) };
}

/** Breaks a long title into two lines. */
function wrapped(title) {
  if (title.length <= 34) return [title];
  const at = title.lastIndexOf(" ", 34);
  return [title.slice(0, at), title.slice(at + 1)];
}

export function plot(report) {
  const drawn = groups(report);
  const { x, ticks } = scale(drawn.flatMap(({ peers }) => peers.map(({ times }) => times)));
  const parts = [];
  let y = top;
  for (const { metric, peers } of drawn) {
    const title = wrapped(plain(metric.title));
    title.forEach((words, index) => parts.push(text(16, y + 12 + index * 15, words)));
    peers.forEach(({ peer, times }, index) => parts.push(...bar(y + index * line, x, metric, peer, times)));
    y += Math.max(peers.length * line, title.length * 15) + gap;
  }
  const height = y + bottom;
  const grid = ticks.flatMap((tick) => [
    `<line x1="${round(x(tick))}" x2="${round(x(tick))}" y1="${top - 6}" y2="${y - gap + 4}" class="${tick === 1 ? "even" : "grid"}"/>`,
    text(x(tick), top - 12, `${tick}×`, "quiet middle"),
  ]);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>How many times better agent-vm is than each of its peers</title>`,
    `<style>${style}\n</style>`,
    `<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6" class="ground"/>`,
    text(16, 28, "How many times better agent-vm is, beside each peer", "heading"),
    text(16, 47, `On a logarithmic scale; ${circumstances(report)}`, "quiet"),
    text(width - 16, top - 12, "agent-vm / the peer", "quiet end"),
    ...grid,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function bar(y, x, { unit, contenders }, peer, times) {
  const [from, to] = [x(1), x(times)].sort((a, b) => a - b);
  const [ours, theirs] = ["agent-vm", peer].map((name) => number(contenders[name].median));
  return [
    text(peersEnd, y + 12, nameOf(peer), "end quiet"),
    `<rect x="${round(from)}" y="${y + 2}" width="${round(Math.max(1, to - from))}" height="${line - 5}" rx="2" class="${times >= 1 ? "better" : "worse"}"/>`,
    text(Math.max(to, x(1)) + 5, y + 12, `${times < 10 ? times.toPrecision(2) : times.toFixed(0)}×`),
    text(width - 16, y + 12, `${ours} / ${theirs} ${unit}`, "end quiet"),
  ];
}
