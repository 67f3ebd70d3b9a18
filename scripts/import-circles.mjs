// Finds files of a Rust crate that import each other, directly or around a circle. An import through `pub use` counts
// as an import from the file that defines the item. Tests inside files do not count.
//
//   node scripts/import-circles.mjs crates/host/src [--except boot doctor.rs]
//
// `--except` permits circles that are wholly within these files and directories.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const [root, flag, ...exceptions] = process.argv.slice(2);
if (!root || (flag !== undefined && (flag !== "--except" || exceptions.length === 0))) {
  console.error("usage: node scripts/import-circles.mjs DIRECTORY [--except FILE_OR_DIRECTORY...]");
  process.exit(2);
}

/** Whether a circle within `file` is permitted. */
function isException(file) {
  return exceptions.some((exception) => file === exception || file.startsWith(`${exception}/`));
}

/** The module path of a file: `[]` for lib.rs, `["run", "exec"]` for run/exec.rs. */
function moduleOf(file) {
  const parts = file.replace(/\.rs$/, "").split("/");
  return /^(mod|lib|main)$/.test(parts.at(-1)) ? parts.slice(0, -1) : parts;
}

/** The source without comments, string contents and tests. */
function code(text) {
  return text
    .replace(/^#\[cfg\(test\)\]\s*(#\[[^\]]*\]\s*)*mod tests \{[^]*$/m, "")
    .replace(/\/\/[^\n]*/g, "")
    .replace(/"(?:\\.|[^"\\])*"/gs, '""');
}

/** Expands `a::{b, c::{self, d}}` to `[["a", "b"], ["a", "c"], ["a", "c", "d"]]`; names after `as` are dropped. */
function expand(tree) {
  const open = tree.indexOf("{");
  if (open < 0) {
    const path = tree
      .trim()
      .split(/\s+as\s+/)[0]
      .split("::");
    return [path.at(-1) === "self" && path.length > 1 ? path.slice(0, -1) : path];
  }
  const prefix = tree.slice(0, open).trim().replace(/::$/, "").split("::").filter(Boolean);
  const members = [];
  let depth = 0;
  let from = open + 1;
  for (let at = open + 1; at < tree.length; at++) {
    if (tree[at] === "{") depth++;
    if ((tree[at] === "," && depth === 0) || (tree[at] === "}" && depth === 0)) {
      if (tree.slice(from, at).trim()) members.push(tree.slice(from, at));
      from = at + 1;
    }
    if (tree[at] === "}") depth--;
  }
  return members.flatMap(expand).map((path) => [...prefix, ...(path[0] === "self" ? path.slice(1) : path)]);
}

const files = readdirSync(root, { recursive: true }).filter((file) => file.endsWith(".rs"));
const modules = new Map();
for (const file of files) {
  const module = moduleOf(file);
  const text = code(readFileSync(join(root, file), "utf8"));
  const uses = [...text.matchAll(/^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm)].map(([, isPublic, tree]) => ({
    isPublic: isPublic !== undefined,
    paths: expand(tree.replace(/\s+/g, " ")),
  }));
  const rest = text.replace(/^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm, "");
  const inline = [...rest.matchAll(/(?<![\w:])((?:\w+::)+\w+)/g)].map(([, path]) => path.split("::"));
  modules.set(module.join("::"), { file, module, uses, inline });
}

/** Converts a path in `module` to a path from the crate's root; undefined if it leaves the crate. */
function absolute(module, path) {
  let [first, ...rest] = path;
  if (first === "crate") return rest;
  let from = module;
  if (first === "self") return [...from, ...rest];
  while (first === "super") {
    from = from.slice(0, -1);
    [first, ...rest] = rest;
    if (first !== "super") return [...from, first, ...rest].filter((part) => part !== undefined);
  }
  return modules.has([...module, first].join("::")) ? [...module, ...path] : undefined;
}

/** The file that defines the item of an absolute path. */
function definedIn(path, seen = new Set()) {
  let length = path.length;
  while (length > 0 && !modules.has(path.slice(0, length).join("::"))) length--;
  const { file, module, uses } = modules.get(path.slice(0, length).join("::"));
  const name = path[length];
  if (name === undefined || seen.has(path.join("::"))) return file;
  seen.add(path.join("::"));
  for (const { paths } of uses) {
    for (const used of paths) {
      if (used.at(-1) !== name) continue;
      const source = absolute(module, used);
      if (source) return definedIn([...source, ...path.slice(length + 1)], seen);
    }
  }
  return file;
}

const imports = new Map();
for (const { file, module, uses, inline } of modules.values()) {
  const targets = new Set();
  const add = (path) => {
    const found = absolute(module, path);
    if (found) targets.add(definedIn(found));
  };
  for (const { isPublic, paths } of uses) if (!isPublic) for (const path of paths) add(path);
  for (const path of inline) add(path);
  targets.delete(file);
  imports.set(file, targets);
}

/** The files on a circle through `file`: those that it reaches and that reach it. */
function reached(from) {
  const seen = new Set();
  const next = [...imports.get(from)];
  while (next.length > 0) {
    const file = next.pop();
    if (seen.has(file)) continue;
    seen.add(file);
    next.push(...imports.get(file));
  }
  return seen;
}

const circles = new Map();
for (const file of files) {
  const on = [...reached(file)].filter((other) => reached(other).has(file)).sort();
  if (on.length > 1 && !on.every(isException)) circles.set(on.join(" "), on);
}
for (const on of circles.values()) {
  console.error(`${root}: ${on.length} files import each other around a circle:`);
  for (const file of on) {
    const into = [...imports.get(file)].filter((other) => on.includes(other));
    console.error(`  ${file} imports ${into.sort().join(", ")}`);
  }
}
process.exit(circles.size > 0 ? 1 : 0);
