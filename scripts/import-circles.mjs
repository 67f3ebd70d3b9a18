// Finds Rust files that import each other, directly or around a circle. An import through `pub use` counts as an import
// from the file that defines the item. Tests inside files do not count.
//
//   node scripts/import-circles.mjs
//
// Looks at the addon and at every crate.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./step.mjs";

/** The directories with the sources of one crate each. */
const crates = ["src", ...readdirSync(join(root, "crates")).map((name) => `crates/${name}/src`), "crates/init/seccomp"];

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

/** The modules of a crate by their paths: each one's file and what it names of other modules. */
function modulesOf(crate) {
  const modules = new Map();
  for (const file of readdirSync(join(root, crate), { recursive: true }).filter((file) => file.endsWith(".rs"))) {
    const module = moduleOf(file);
    const text = code(readFileSync(join(root, crate, file), "utf8"));
    const uses = [...text.matchAll(/^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm)].map(([, isPublic, tree]) => ({
      isPublic: isPublic !== undefined,
      paths: expand(tree.replace(/\s+/g, " ")),
    }));
    const rest = text.replace(/^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/gm, "");
    const inline = [...rest.matchAll(/(?<![\w:])((?:\w+::)+\w+)/g)].map(([, path]) => path.split("::"));
    modules.set(module.join("::"), { file, module, uses, inline });
  }
  return modules;
}

/** Converts a path in `module` to a path from the crate's root; undefined if it leaves the crate. */
function absolute(modules, module, path) {
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
function definedIn(modules, path, seen = new Set()) {
  let length = path.length;
  while (length > 0 && !modules.has(path.slice(0, length).join("::"))) length--;
  const { file, module, uses } = modules.get(path.slice(0, length).join("::"));
  const name = path[length];
  if (name === undefined || seen.has(path.join("::"))) return file;
  seen.add(path.join("::"));
  for (const { paths } of uses) {
    for (const used of paths) {
      if (used.at(-1) !== name) continue;
      const source = absolute(modules, module, used);
      if (source) return definedIn(modules, [...source, ...path.slice(length + 1)], seen);
    }
  }
  return file;
}

/** The files that each file of a crate imports. */
function importsOf(modules) {
  const imports = new Map();
  for (const { file, module, uses, inline } of modules.values()) {
    const targets = new Set();
    const add = (path) => {
      const found = absolute(modules, module, path);
      if (found) targets.add(definedIn(modules, found));
    };
    for (const { isPublic, paths } of uses) if (!isPublic) for (const path of paths) add(path);
    for (const path of inline) add(path);
    targets.delete(file);
    imports.set(file, targets);
  }
  return imports;
}

/** The files that a file imports, and that these import, and so on. */
function reached(imports, from) {
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

/** The circles of a crate, each as the sorted list of its files. */
function circlesOf(imports) {
  const circles = new Map();
  for (const file of imports.keys()) {
    const on = [...reached(imports, file)].filter((other) => reached(imports, other).has(file)).sort();
    if (on.length > 1) circles.set(on.join(" "), on);
  }
  return [...circles.values()];
}

for (const crate of crates.filter((crate) => existsSync(join(root, crate)))) {
  const imports = importsOf(modulesOf(crate));
  for (const on of circlesOf(imports)) {
    process.exitCode = 1;
    console.error(`${crate}: ${on.length} files import each other around a circle:`);
    for (const file of on) {
      const into = [...imports.get(file)].filter((other) => on.includes(other));
      console.error(`  ${file} imports ${into.sort().join(", ")}`);
    }
  }
}
