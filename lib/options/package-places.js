"use strict";
// The directories in which packages of the option `software` may be. An installer makes links for dependencies such
// as `file:/root`, even for hostile packages in a tree, and a link decides what a VM shows. So a link is followed
// only to a node_modules that the packageDir itself resolves packages in, to a member of its workspace, or to a
// directory in `allowLinks`. Every other link is refused.

const { lstat, readFile, realpath } = require("node:fs/promises");
const nodePath = require("node:path");

const { AgentVmError, invalid, systemError } = require("../error");
const { own } = require("../members");
const { manifestOf } = require("./package-manifest");
const { within } = require("./paths");

class Places {
  /** The packageDir, with links resolved. */
  start = "";
  /** The option's name in errors. */
  #name;
  #allowed;
  /**
   * Directories whose node_modules may contain packages: the packageDir, the directories above it, and the
   * workspace's members.
   * @type {Set<string>}
   */
  #bases = new Set();
  /**
   * The node_modules directories that link to packages elsewhere: Node.js in the VM finds those packages by the
   * links.
   * @type {Set<string>}
   */
  linking = new Set();
  /** @type {Map<string, Promise<string[]>>} */
  #patterns = new Map();

  /**
   * @param {string} name
   * @param {string[]} allowed
   */
  constructor(name, allowed) {
    this.#name = name;
    this.#allowed = allowed;
  }

  /**
   * @param {string} name
   * @param {string} packageDir
   * @param {readonly string[]} allowLinks
   */
  static async of(name, packageDir, allowLinks = []) {
    const places = new Places(
      name,
      await Promise.all(allowLinks.map((path, index) => realOnly(`${name}.allowLinks[${index}]`, path, "it"))),
    );
    // The caller named a path outside node_modules; inside one, it may be a link that an installer made.
    const given = nodePath.normalize(packageDir).replace(/(.)\/$/, "$1");
    const first = given.indexOf("/node_modules/");
    if (first === -1) {
      places.start = await realOnly(`${name}.packageDir`, given, given);
      places.#look(places.start);
    } else {
      const modules = given.slice(0, first + "/node_modules".length);
      await realOnly(`${name}.packageDir`, modules, given);
      places.#look(nodePath.dirname(modules));
      places.start = await places.packageAt(given, modules, undefined);
      places.#look(places.start);
    }
    return places;
  }

  /**
   * Allows packages in the node_modules of `directory` and of every directory above it.
   * @param {string} directory
   */
  #look(directory) {
    for (let at = directory; !this.#bases.has(at); at = nodePath.dirname(at)) this.#bases.add(at);
  }

  /**
   * The package at `path` in the directory `modules`, with links resolved; `name` is its name as a dependency.
   * @param {string} path
   * @param {string} modules
   * @param {string | undefined} name
   */
  async packageAt(path, modules, name) {
    const real = await this.#real(path);
    // The directory itself may have been replaced by a link since then.
    if ((await lstat(modules)).isSymbolicLink() && !this.#isAllowed(real)) throw this.#refused(modules, real);
    if (this.#isInModules(real)) return real;
    const isMember = !this.#isAllowed(real) && (await this.#isMember(real, name));
    if (isMember) this.#look(real);
    if (isMember || this.#isAllowed(real)) {
      // The packageDir itself has no dependency name, and nothing depends on it through its link.
      if (name !== undefined && this.#isBase(modules)) this.linking.add(modules);
      return real;
    }
    throw this.#refused(await firstLink(path), real);
  }

  /**
   * The packageDir as a package: in a node_modules, or a workspace's own.
   * @param {string} name
   */
  async self(name) {
    const real = this.start;
    if (this.#isInModules(real) || this.#isAllowed(real)) return real;
    if ((await this.#isMember(real, name)) || (await this.#isLinkedFromAbove(real, name))) return real;
    throw invalid(
      `${this.#name} must not show ${real} whole: it is in no node_modules and is no member of a workspace. ` +
        `Install it as a package, or name it in allowLinks: [${JSON.stringify(real)}]`,
    );
  }

  /**
   * The directory to show for a package: the node_modules that contains it, the target of its links (pnpm's `.pnpm`),
   * or itself.
   * @param {string} directory
   */
  holderOf(directory) {
    const allowed = this.#allowed.filter((path) => within(directory, path)).sort((a, b) => a.length - b.length)[0];
    if (!this.#isInModules(directory)) return allowed ?? directory;
    const [, store] = /^(.*?\/node_modules)\/\./.exec(directory) ?? [];
    if (store !== undefined) return store;
    const end = directory.lastIndexOf("/node_modules/");
    return directory.slice(0, end + "/node_modules".length);
  }

  /** @param {string} path */
  async #real(path) {
    try {
      return await realpath(path);
    } catch (thrown) {
      const error = systemError(thrown);
      throw new AgentVmError(error.code, `${this.#name}: ${path} leads nowhere: ${error.message}`, {
        __proto__: null,
        ...error,
        path,
        cause: error,
      });
    }
  }

  /** @param {string} real */
  #isInModules(real) {
    for (let end = real.indexOf("/node_modules/"); end !== -1; end = real.indexOf("/node_modules/", end + 1)) {
      if (this.#bases.has(real.slice(0, end) || "/")) return true;
    }
    return false;
  }

  /** @param {string} modules */
  #isBase(modules) {
    return this.#bases.has(nodePath.dirname(modules));
  }

  /** @param {string} real */
  #isAllowed(real) {
    return this.#allowed.some((path) => within(real, path));
  }

  /**
   * Whether the packageDir's workspace lists this directory, and the directory is the package called `name`.
   * @param {string} real
   * @param {string | undefined} name
   */
  async #isMember(real, name) {
    for (const root of this.#bases) {
      if (real === root || !within(real, root)) continue;
      const patterns = await this.#patternsOf(root);
      if (!matches(patterns, nodePath.relative(root, real))) continue;
      const manifest = await manifestOf(real).catch(() => ({ __proto__: null }));
      const called = own(manifest, "name");
      if (typeof called === "string" && (name === undefined || called === name)) return true;
    }
    return false;
  }

  /**
   * Whether a node_modules above links to it under its name, as npm does for workspaces.
   * @param {string} real
   * @param {string} name
   */
  async #isLinkedFromAbove(real, name) {
    for (let at = nodePath.dirname(real); ; at = nodePath.dirname(at)) {
      const path = nodePath.join(at, "node_modules", name);
      if ((await realpath(path).catch(() => undefined)) === real) return true;
      if (at === nodePath.dirname(at)) return false;
    }
  }

  /** @param {string} root */
  #patternsOf(root) {
    const known = this.#patterns.get(root);
    if (known) return known;
    const patterns = workspacesOf(root);
    this.#patterns.set(root, patterns);
    return patterns;
  }

  /**
   * @param {string} link
   * @param {string} real
   */
  #refused(link, real) {
    const how = link === real ? "it is" : `the link ${link} leads there,`;
    return invalid(
      `${this.#name} must not show ${real}: ${how} out of the node_modules and the workspace of its packageDir. Remove the ` +
        `package that brings it, or name it in allowLinks: [${JSON.stringify(real)}]`,
    );
  }
}

/**
 * Returns `path` if it is absolute and contains no links.
 * @param {string} name
 * @param {string} path
 * @param {string} given
 */
async function realOnly(name, path, given) {
  let real;
  try {
    real = await realpath(path);
  } catch (thrown) {
    const error = systemError(thrown);
    throw new AgentVmError(error.code, `${name} cannot be shown: ${error.message}`, {
      __proto__: null,
      ...error,
      path,
      cause: error,
    });
  }
  if (real === nodePath.normalize(path).replace(/(.)\/$/, "$1")) return real;
  throw invalid(`${name} must not lead through a link, as ${given} does at ${await firstLink(path)}: give ${real}`);
}

/**
 * The first link on the way to `path`; `path` itself if there is none.
 * @param {string} path
 */
async function firstLink(path) {
  const parts = path.split("/");
  for (let count = 2; count <= parts.length; count++) {
    const at = parts.slice(0, count).join("/");
    const found = await lstat(at).catch(() => undefined);
    if (found?.isSymbolicLink()) return at;
  }
  return path;
}

/**
 * The patterns of a workspace's root: npm and yarn have them in package.json, pnpm in its own file.
 * @param {string} root
 * @returns {Promise<string[]>}
 */
async function workspacesOf(root) {
  const manifest = await manifestOf(root).catch(() => ({ __proto__: null }));
  let workspaces = own(manifest, "workspaces");
  if (typeof workspaces === "object" && workspaces !== null && !Array.isArray(workspaces)) {
    workspaces = own(workspaces, "packages");
  }
  const yaml = await readFile(nodePath.join(root, "pnpm-workspace.yaml"), "utf8").catch(() => "");
  const [, list = ""] = /^packages:\s*\n((?:\s*(?:#.*)?\n|\s*-.*\n?)*)/m.exec(yaml) ?? [];
  const ofPnpm = Array.from(list.matchAll(/^\s*-\s*(["']?)(.*?)\1\s*(?:#.*)?$/gm), ([, , pattern]) => pattern);
  return [...(Array.isArray(workspaces) ? workspaces : []), ...ofPnpm].filter((one) => typeof one === "string");
}

/**
 * Whether the patterns match a path: `*` is any name, `**` any directories, `!` excludes.
 * @param {readonly string[]} patterns
 * @param {string} path
 */
function matches(patterns, path) {
  if (path.split("/").some((part) => part === "node_modules" || part.startsWith("."))) return false;
  let matched = false;
  for (const pattern of patterns) {
    const isNegative = pattern.startsWith("!");
    const parts = pattern
      .slice(isNegative ? 1 : 0)
      .split("/")
      .filter((part) => part !== "" && part !== ".");
    if (parts.length > 0 && parts.length <= 64 && isLike(parts, path.split("/"))) matched = !isNegative;
  }
  return matched;
}

/**
 * Whether the parts of a pattern match names. The time is bounded by the numbers of both.
 * @param {readonly string[]} parts
 * @param {readonly string[]} names
 */
function isLike(parts, names) {
  // The lengths of the prefixes of `names` that the parts so far can match.
  let ends = new Set([0]);
  for (const part of parts) {
    const next = new Set();
    for (const end of ends) {
      const name = names[end];
      if (part === "**") for (let at = end; at <= names.length; at++) next.add(at);
      else if (name !== undefined && isNameLike(part, name)) next.add(end + 1);
    }
    ends = next;
  }
  return ends.has(names.length);
}

/**
 * @param {string} part
 * @param {string} name
 */
function isNameLike(part, name) {
  const [start = "", ...rest] = part.split("*");
  const last = rest.pop();
  if (last === undefined) return part === name;
  if (!name.startsWith(start)) return false;
  let at = start.length;
  for (const middle of rest) {
    const found = name.indexOf(middle, at);
    if (found === -1) return false;
    at = found + middle.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

exports.Places = Places;
