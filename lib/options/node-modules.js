"use strict";
// npm packages of the host's, with all that they depend on, as a VM shows them: the folders that hold them, read-only, in
// one tree that is shaped as on the host, so that Node.js finds there what it finds here.

const { access, constants, readFile, readdir, realpath } = require("node:fs/promises");
const nodePath = require("node:path");

const { AgentVmError, invalid } = require("../error");

/** Where the tree stands inside. Its commands are in /opt/agent-vm/bin (crates/host/src/boot/root.rs). */
const TREE = "/opt/agent-vm/software";

/** Folders of one VM: a mount each. What npm, pnpm and yarn install together lies in one. */
const MOST_FOLDERS = 16;

/** What a descriptor object resolved to: the host's packages change less often than VMs are made. */
const resolved = new WeakMap();

/** `mounts` and `bins` (`[name, path inside]`) for agents and tools. */
async function programsOf(programs) {
  const found = await Promise.all(programs.map(resolve));
  const folders = outermost(found.flatMap(({ folders: all }) => all));
  if (folders.length > MOST_FOLDERS) {
    const message = `software must lie in at most ${MOST_FOLDERS} folders of packages, not in ${folders.length}`;
    throw invalid(`${message}: install it in one place, and without a store that other projects share`);
  }
  const base = commonFolder(folders.map((folder) => nodePath.dirname(folder)));
  const inside = (path) => nodePath.posix.join(TREE, nodePath.relative(base, path));
  const bins = new Map();
  for (const [name, { script, called }] of found.flatMap(({ bins: all }) => all)) {
    const known = bins.get(name);
    if (known && known.script !== script) {
      throw invalid(`software must not bring two commands ${name}, as ${known.called} and ${called} do`);
    }
    bins.set(name, { script, called });
  }
  return {
    mounts: folders.map((folder) => ({ path: inside(folder), hostPath: folder, readOnly: true })),
    bins: Array.from(bins, ([name, { script }]) => [name, inside(script)]),
  };
}

function resolve(program) {
  let promise = resolved.get(program.source);
  if (!promise) {
    promise = resolveAnew(program);
    resolved.set(program.source, promise);
    // One that failed may be mended by the next time.
    promise.catch(() => resolved.delete(program.source));
  }
  return promise;
}

async function resolveAnew({ called, packageDir, requires, bins }) {
  const modules = new Modules();
  const needed = async (name) => {
    const folder = await modules.find(packageDir, name, true);
    if (folder !== undefined) return folder;
    const message = `The software package ${called} needs ${name}, which is not installed where ${packageDir} looks for it`;
    throw new AgentVmError("ENOENT", message, { path: packageDir });
  };
  const wanted = bins === undefined ? requires : [...requires, ...Object.values(bins)];
  const folders = new Map(await Promise.all(wanted.map(async (name) => [name, await needed(name)])));
  const commands = [];
  for (const [name, folder] of folders) {
    for (const [bin, script] of binsOf(await modules.manifest(folder), name)) {
      // A tool says which of its packages' commands it brings; an agent brings all.
      if (bins === undefined) commands.push([bin, folder, script]);
      else if (bins[bin] === name) commands.push([bin, folder, script]);
    }
  }
  for (const [bin, name] of Object.entries(bins ?? {})) {
    if (commands.some(([known]) => known === bin)) continue;
    const [[, script] = []] = binsOf(await modules.manifest(folders.get(name)), name);
    if (script === undefined) {
      throw new AgentVmError("ENOENT", `The software package ${called} brings ${bin}, but ${name} has no command`, {
        path: folders.get(name),
      });
    }
    commands.push([bin, folders.get(name), script]);
  }
  const all = await modules.closure(folders.values());
  return {
    folders: outermost(Array.from(all, holderOf)),
    bins: (await Promise.all(commands.map((command) => executable(command, called)))).flat(),
  };
}

/** A command, if its script is there: some are left out of what was installed. */
async function executable([name, folder, script], called) {
  const path = nodePath.join(folder, script);
  if (!/^[^/\0]+$/.test(name) || name === "." || name === ".." || !path.startsWith(`${folder}/`)) {
    throw invalid(`software must not bring a command ${JSON.stringify(name)} at ${path}`);
  }
  try {
    await access(path, constants.X_OK);
  } catch (error) {
    if (error.code === "ENOENT") return [];
    const message = `The command ${name} of the software package ${called} is not executable: chmod +x ${path}`;
    throw new AgentVmError(error.code, message, { errno: error.errno, syscall: error.syscall, path, cause: error });
  }
  return [[name, { script: path, called }]];
}

function binsOf({ bin = {} }, name) {
  // One command alone has the package's name, without its scope.
  return typeof bin === "string" ? [[name.slice(name.lastIndexOf("/") + 1), bin]] : Object.entries(bin);
}

/** Installed packages, each looked at once. */
class Modules {
  #names = new Map();
  #manifests = new Map();

  /** Where a package that `from` depends on is, as Node.js looks for it; `from` itself too, if `own`. */
  async find(from, name, own = false) {
    if (own && (await this.manifest(from)).name === name) return realpath(from);
    for (let folder = from; ; folder = nodePath.dirname(folder)) {
      let path = nodePath.join(folder, "node_modules");
      let there = true;
      for (const part of name.split("/")) {
        there &&= (await this.#namesIn(path)).has(part);
        path = nodePath.join(path, part);
      }
      if (there) return realpath(path);
      if (folder === nodePath.dirname(folder)) return undefined;
    }
  }

  /** These packages and all that they depend on, as far as it is installed: what is not, Node.js misses by itself. */
  async closure(folders) {
    const all = new Set(folders);
    let fresh = Array.from(all);
    while (fresh.length > 0) {
      const next = await Promise.all(
        fresh.map(async (folder) => {
          const { dependencies, optionalDependencies, peerDependencies } = await this.manifest(folder);
          const names = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
          return Promise.all(names.map((name) => this.find(folder, name)));
        }),
      );
      fresh = Array.from(new Set(next.flat())).filter((folder) => folder !== undefined && !all.has(folder));
      for (const folder of fresh) all.add(folder);
    }
    return all;
  }

  /** A package's package.json; an empty one where there is none to read. */
  manifest(folder) {
    return once(this.#manifests, folder, {}, async () => {
      const json = JSON.parse(await readFile(nodePath.join(folder, "package.json"), "utf8"));
      return typeof json === "object" && json !== null ? json : {};
    });
  }

  #namesIn(folder) {
    return once(this.#names, folder, new Set(), async () => new Set(await readdir(folder)));
  }
}

/** What `make` gave for a key, or `otherwise` if it failed. */
function once(known, key, otherwise, make) {
  let promise = known.get(key);
  if (!promise) {
    promise = make().catch(() => otherwise);
    known.set(key, promise);
  }
  return promise;
}

/**
 * The folder to show for a package: the node_modules that it lies in, or where its links lead into (pnpm's
 * `node_modules/.pnpm`); itself, if it is in none, as a workspace's are.
 */
function holderOf(folder) {
  const store = /^(.*?\/node_modules)\/\./.exec(folder);
  if (store) return store[1];
  const end = folder.lastIndexOf("/node_modules/");
  return end === -1 ? folder : folder.slice(0, end + "/node_modules".length);
}

/** Those folders that are in no other of them. */
function outermost(folders) {
  return Array.from(new Set(folders))
    .filter((folder) => !folders.some((other) => folder.startsWith(`${other}/`)))
    .sort();
}

function commonFolder(folders) {
  if (folders.length === 0) return "/";
  const [first, ...rest] = folders.map((folder) => folder.split("/"));
  const different = first.findIndex((part, index) => rest.some((other) => other[index] !== part));
  return (different === -1 ? first : first.slice(0, different)).join("/") || "/";
}

module.exports = { programsOf };
