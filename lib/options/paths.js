"use strict";
// How paths lie to each other. They are absolute and normal: without ".", ".." and double or trailing slashes.

/**
 * Whether `path` is `directory` or below it.
 * @param {string} path
 * @param {string} directory
 */
function within(path, directory) {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/**
 * The directories above any of the paths.
 * @param {readonly string[]} paths
 */
function above(paths) {
  const found = new Set();
  for (let path of paths) {
    while (path !== "/") found.add((path = path.slice(0, path.lastIndexOf("/")) || "/"));
  }
  return found;
}

module.exports = { above, within };
