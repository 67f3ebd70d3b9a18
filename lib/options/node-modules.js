"use strict";
// Mounts for the host's npm packages and all their dependencies: the directories that hold them, read-only, in one
// tree shaped as on the host, so that Node.js resolves the same packages in the VM as on the host.

const { access, constants, readdir, stat } = require("node:fs/promises");
const nodePath = require("node:path");

const { show } = require("../arguments");
const { AgentVmError, invalid, systemError } = require("../error");
const { own } = require("../members");
const ownPaths = require("./own-paths");
const { Places } = require("./package-places");
const { isFileName, manifestOf } = require("./package-manifest");
const { within } = require("./paths");

/**
 * The maximum number of directories in one VM: each is a mount. Packages that npm, pnpm or yarn install together
 * share one.
 */
const MOST_DIRECTORIES = 16;

/** @import { MountRequest } from "../../src/addon" */
/** @import { Programs } from "./software" */

/**
 * What a VM shows for the option `software`.
 * @typedef {{ mounts: MountRequest[], bins: [name: string, inside: string][] }} Shown
 */

/** @typedef {[name: string, command: { script: string, called: string }]} Bin */

/** @typedef {[name: string, directory: string, script: string]} Command */

/**
 * The result for each descriptor object, kept because the host's packages change less often than VMs are created.
 * @type {WeakMap<object, Promise<{ directories: string[], bins: Bin[] }>>}
 */
const resolved = new WeakMap();

/**
 * Returns the `mounts` and `bins` for agents and tools.
 * @param {Programs[]} programs
 * @returns {Promise<Shown>}
 */
async function programsOf(programs) {
  const found = await Promise.all(programs.map(resolve));
  const directories = outermost(found.flatMap(({ directories: all }) => all));
  if (directories.length > MOST_DIRECTORIES) {
    const message = `software must be in at most ${MOST_DIRECTORIES} directories of packages, not in ${directories.length}`;
    throw invalid(`${message}: install it in one place, and without a store that other projects share`);
  }
  const base = commonDirectory(directories.map((directory) => nodePath.dirname(directory)));
  /** @param {string} path */
  const inside = (path) => nodePath.posix.join(ownPaths.software, nodePath.relative(base, path));
  const bins = new Map();
  for (const [name, { script, called }] of found.flatMap(({ bins: all }) => all)) {
    const known = bins.get(name);
    if (known && known.script !== script) {
      throw invalid(`software must not bring two commands ${name}, as ${known.called} and ${called} do`);
    }
    bins.set(name, { script, called });
  }
  return {
    mounts: directories.map((directory) => ({
      __proto__: null,
      path: inside(directory),
      hostPath: directory,
      readOnly: true,
      software: true,
      protect: [],
    })),
    bins: Array.from(bins, ([name, { script }]) => [name, inside(script)]),
  };
}

/** @param {Programs} program */
function resolve(program) {
  let promise = resolved.get(program.source);
  if (!promise) {
    promise = resolveAnew(program);
    resolved.set(program.source, promise);
    // A failure is not kept: its cause may be repaired before the next call.
    promise.catch(() => resolved.delete(program.source));
  }
  return promise;
}

/** @param {Programs} program */
async function resolveAnew({ name, called, packageDir, requires, bins, allowLinks }) {
  const modules = new Modules(await Places.of(name, packageDir, allowLinks));
  /** @param {string} dependency */
  const needed = async (dependency) => {
    const directory = await modules.find(modules.places.start, dependency, true);
    if (directory !== undefined) return directory;
    const message = `The software package ${called} needs ${dependency}, which is not installed where ${packageDir} looks for it`;
    throw new AgentVmError("ENOENT", message, { path: packageDir });
  };
  const wanted = bins === undefined ? requires : [...requires, ...bins.values()];
  /** @type {Map<string, string>} */
  const directories = new Map(
    await Promise.all(wanted.map(async (one) => /** @type {[string, string]} */ ([one, await needed(one)]))),
  );
  /** @type {Command[]} */
  const commands = [];
  for (const [one, directory] of directories) {
    for (const [bin, script] of binsOf(await modules.manifest(directory), one, directory)) {
      // A tool lists the commands that it provides; an agent provides all of them.
      if (bins === undefined || bins.get(bin) === one) commands.push([bin, directory, script]);
    }
  }
  for (const [bin, one] of bins ?? []) {
    if (commands.some(([known]) => known === bin)) continue;
    // Every package of `bins` was found above.
    const directory = /** @type {string} */ (directories.get(one));
    const [first] = binsOf(await modules.manifest(directory), one, directory);
    if (first === undefined) {
      throw new AgentVmError("ENOENT", `The software package ${called} brings ${bin}, but ${one} has no command`, {
        path: directory,
      });
    }
    commands.push([bin, directory, first[1]]);
  }
  const all = await modules.closure(directories.values());
  const holders = Array.from(all, (directory) => modules.places.holderOf(directory));
  const shown = outermost([...holders, ...modules.places.linking]);
  return {
    directories: shown,
    bins: (await Promise.all(commands.map((command) => executable(command, called, shown)))).flat(),
  };
}

/**
 * A command, if its script exists: installers leave some out.
 * @param {Command} command
 * @param {string} called
 * @param {readonly string[]} shown
 * @returns {Promise<Bin[]>}
 */
async function executable([name, directory, script], called, shown) {
  const path = nodePath.join(directory, script);
  if (!isFileName(name) || !within(path, directory) || path === directory) {
    throw invalid(`software must not bring a command ${show(name)} at ${show(path)}`);
  }
  try {
    await access(path, constants.X_OK);
  } catch (thrown) {
    const error = systemError(thrown);
    if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "ENAMETOOLONG") return [];
    const message = `The command ${name} of the software package ${called} is not executable: chmod +x ${path}`;
    const { code, errno, syscall } = error;
    throw new AgentVmError(code, message, { errno, syscall, path, cause: error });
  }
  await requireOpenToOthers(path, shown, `The command ${name} of the software package ${called}`);
  return [[name, { script: path, called }]];
}

/**
 * Under a server that runs as root, the VM's user is another one, which reads and executes only what all users may.
 * @param {string} script
 * @param {readonly string[]} shown
 * @param {string} what
 */
async function requireOpenToOthers(script, shown, what) {
  if (process.geteuid?.() !== 0) return;
  // One of these directories contains the command's package.
  const top = /** @type {string} */ (shown.find((directory) => within(script, directory)));
  for (let path = script; within(path, top); path = nodePath.dirname(path)) {
    const { mode } = await stat(path);
    if ((mode & 0o5) === 0o5) continue;
    const message = `${what} cannot be run by the VM's user, who is another one than root: chmod o+rx ${path}`;
    throw new AgentVmError("EACCES", message, { path });
  }
}

/**
 * The commands of a package: names, and paths of scripts in the package.
 * @param {object} manifest
 * @param {string} name
 * @param {string} directory
 */
function binsOf(manifest, name, directory) {
  const bin = own(manifest, "bin") ?? {};
  /**
   * A package with a single command gives it the package's name, without the scope.
   * @type {[name: string, script: unknown][]}
   */
  const bins = typeof bin === "string" ? [[name.slice(name.lastIndexOf("/") + 1), bin]] : Object.entries(bin);
  /** @param {string} what */
  const wrong = (what) => invalid(`software: bin in ${nodePath.join(directory, "package.json")} must be ${what}`);
  if (typeof bin !== "string" && (typeof bin !== "object" || Array.isArray(bin))) {
    throw wrong(`a path or an object of paths, not ${show(bin)}`);
  }
  /** @type {[name: string, script: string][]} */
  const checked = [];
  for (const [command, script] of bins) {
    if (typeof script !== "string" || script === "" || script.includes("\0") || !script.isWellFormed()) {
      throw wrong(`a path or an object of paths, not ${show(script)} for ${show(command)}`);
    }
    if (!isFileName(command)) {
      throw wrong(
        `of commands whose names are 1 to 255 bytes without "/" and control characters, not ${show(command)}`,
      );
    }
    if (Buffer.byteLength(script) > 4095) throw wrong(`of paths of at most 4095 bytes, not ${show(script)}`);
    checked.push([command, script]);
  }
  return checked;
}

/** Installed packages; each is read at most once. */
class Modules {
  /** @type {Map<string, Promise<Set<string>>>} */
  #names = new Map();
  /** @type {Map<string, Promise<object>>} */
  #manifests = new Map();

  /** @param {Places} places */
  constructor(places) {
    this.places = places;
  }

  /**
   * The path of a package that `from` depends on, resolved as by Node.js; with `self`, also `from` itself.
   * @param {string} from
   * @param {string} name
   */
  async find(from, name, self = false) {
    if (self && own(await this.manifest(from), "name") === name) return this.places.self(name);
    for (let directory = from; ; directory = nodePath.dirname(directory)) {
      const modules = nodePath.join(directory, "node_modules");
      let path = modules;
      let there = true;
      for (const part of name.split("/")) {
        there &&= (await this.#namesIn(path)).has(part);
        path = nodePath.join(path, part);
      }
      if (there) return this.places.packageAt(path, modules, name);
      if (directory === nodePath.dirname(directory)) return undefined;
    }
  }

  /**
   * These packages and all their installed dependencies. A dependency that is missing is left for Node.js to report.
   * @param {Iterable<string>} directories
   */
  async closure(directories) {
    const all = new Set(directories);
    let fresh = Array.from(all);
    while (fresh.length > 0) {
      const next = await Promise.all(
        fresh.map(async (directory) => {
          const manifest = await this.manifest(directory);
          const kinds = ["dependencies", "optionalDependencies", "peerDependencies"].map((kind) => own(manifest, kind));
          // As in npm, a list or a text names no package.
          const names = new Set(
            kinds.flatMap((kind) =>
              typeof kind === "object" && kind !== null && !Array.isArray(kind) ? Object.keys(kind) : [],
            ),
          );
          return Promise.all(Array.from(names, (name) => this.find(directory, name)));
        }),
      );
      fresh = Array.from(new Set(next.flat()))
        .filter((directory) => directory !== undefined)
        .filter((directory) => !all.has(directory));
      for (const directory of fresh) all.add(directory);
    }
    return all;
  }

  /**
   * The content of a package's package.json; an empty object if it cannot be read.
   * @param {string} directory
   */
  manifest(directory) {
    return once(this.#manifests, directory, { __proto__: null }, () => manifestOf(directory));
  }

  /** @param {string} directory */
  #namesIn(directory) {
    return once(this.#names, directory, new Set(), async () => new Set(await readdir(directory)));
  }
}

/**
 * The result of `make` for a key, or `otherwise` if it failed.
 * @template T
 * @param {Map<string, Promise<T>>} known
 * @param {string} key
 * @param {T} otherwise
 * @param {() => Promise<T>} make
 */
function once(known, key, otherwise, make) {
  let promise = known.get(key);
  if (!promise) {
    promise = make().catch(() => otherwise);
    known.set(key, promise);
  }
  return promise;
}

/**
 * The directories that are not inside another of them.
 * @param {readonly string[]} directories
 */
function outermost(directories) {
  return Array.from(new Set(directories))
    .filter((directory) => !directories.some((other) => directory.startsWith(`${other}/`)))
    .sort();
}

/** @param {readonly string[]} directories */
function commonDirectory(directories) {
  const [first, ...rest] = directories.map((directory) => directory.split("/"));
  if (first === undefined) return "/";
  const different = first.findIndex((part, index) => rest.some((other) => other[index] !== part));
  return (different === -1 ? first : first.slice(0, different)).join("/") || "/";
}

module.exports = { programsOf };
