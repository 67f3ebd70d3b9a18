"use strict";
// Which ids a VM asks for.

/** @import { CheckedOptions } from "./create" */

/**
 * The ids that the options ask for: the best that the host has if only the default user needs a root; undefined without a root.
 * @param {CheckedOptions} options
 */
function idsOf({ user, ids }) {
  return ids ?? (needsRoot(user) ? "best" : undefined);
}

/**
 * Whether a VM must have a root for this default user: all but `user`.
 * @param {string | undefined} user
 */
function needsRoot(user) {
  return user !== undefined && !["user", "1000", "1000:1000"].includes(user);
}

module.exports = { idsOf };
