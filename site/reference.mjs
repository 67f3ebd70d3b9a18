// Makes the reference of every public name with TypeDoc; fails if a name has no documentation. Run directly, it writes
// HTML to target/docs. TypeDoc reads types through the interface of TypeScript 5, which this project's TypeScript no
// longer has.
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, step } from "../scripts/step.mjs";

const here = dirname(fileURLToPath(import.meta.url));

/**
 * The path of a program of this directory's packages, which are installed first if they are missing or older than the
 * lock file.
 */
export function tool(path) {
  const installed = join(here, "node_modules/.package-lock.json");
  const lock = join(here, "package-lock.json");
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    step("npm", ["ci", "--prefix", here, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
  }
  return join(here, "node_modules", path);
}

const documented = ["Class", "Interface", "TypeAlias", "Method", "Function", "Accessor", "Property", "Variable"];

/** Writes the reference to a directory. */
export function reference(directory, options = []) {
  const typedoc = tool("typedoc/bin/typedoc");
  if (!existsSync(join(root, "dist/rivetkit"))) step("tsc", ["--project", "rivetkit"]);
  const entries = ["agent-vm.ts", "rivetkit.ts", "client.ts"];
  step(typedoc, [
    ...entries.flatMap((entry) => ["--entryPoints", join(here, "entries", entry)]),
    ...["--tsconfig", join(here, "tsconfig.json")],
    ...["--out", directory, "--name", "Reference", "--readme", "none"],
    // Types that only describe parts of other types, and that the package does not export, need no page.
    ...["--validation.notExported", "false", "--validation.notDocumented", "true"],
    ...documented.flatMap((kind) => ["--requiredToBeDocumented", kind]),
    // A link to the source needs a git remote that TypeDoc knows; without one, TypeDoc warns.
    "--disableSources",
    // Node.js documents the members of its own classes.
    ...["--excludeExternals", "--treatWarningsAsErrors"],
    ...options,
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) reference(join(root, "target/docs"));
