"use strict";
// What each level of isolation cannot give. An option that its level has no way to honour is refused, never ignored.

const { invalid } = require("./error");

const LANDLOCK = {
  rootfs: "the VM sees the host's own root, since nothing can be mounted",
  mounts: "the VM sees the host's own root, since nothing can be mounted",
  home: "the VM's home is a private folder, since nothing can be mounted",
  hostname: "the VM has the host's own name",
  "limits.diskBytes": "the VM's files lie in the server's folder for temporary files, whose size alone bounds them",
};

/** Throws an INVALID_ARGUMENT that says why, if an option of a VM cannot be had at its level. */
function requirePossible(options) {
  if (options.isolation !== "landlock") return;
  const { limits = {}, network = "none" } = options;
  for (const [name, why] of Object.entries(LANDLOCK)) {
    const value = name.startsWith("limits.") ? limits[name.slice("limits.".length)] : options[name];
    if (value !== undefined) throw invalid(`${name} needs isolation "namespaces": under "landlock" ${why}`);
  }
  if (network !== "none") {
    throw invalid(
      `network must be "none" under isolation "landlock", or isolation "namespaces": Landlock holds TCP alone, and no address`,
    );
  }
}

module.exports = { requirePossible };
