// Makes a reference of every public name, in target/docs; fails where one has no documentation. TypeDoc reads types through
// TypeScript 5's own interface, which this project's TypeScript has no more: both are kept apart.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, step } from "./step.mjs";

const tools = join(root, "node_modules/.cache/agent-vm/typedoc");
const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
if (!existsSync(join(tools, "node_modules/typedoc/bin/typedoc"))) {
  step("npm", ["install", "--prefix", tools, ...flags, "typedoc@0.28", "typescript@5.9"]);
}
if (!existsSync(join(root, "dist/rivetkit"))) step("tsc", ["--project", "rivetkit"]);
const options = {
  tsconfig: join(root, "scripts/docs.tsconfig.json"),
  out: join(root, "target/docs"),
  name: "agent-vm",
  readme: "none",
};
const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
const entries = ["index.d.ts", "dist/rivetkit/index.d.mts", "dist/rivetkit/client.d.mts"];
given.push(...entries.flatMap((entry) => ["--entryPoints", join(root, entry)]));
// Types that others are put together from, without a name of their own in the package, need no page.
given.push("--validation.notExported", "false", "--validation.notDocumented", "true");
for (const kind of ["Class", "Interface", "TypeAlias", "Method", "Function", "Accessor", "Property", "Variable"]) {
  given.push("--requiredToBeDocumented", kind);
}
// Links to the source need a remote that TypeDoc knows; a checkout may have none, which would be a warning.
given.push("--disableSources");
// Members of Node's own classes are described by Node.
step(join(tools, "node_modules/typedoc/bin/typedoc"), [...given, "--excludeExternals", "--treatWarningsAsErrors"]);
