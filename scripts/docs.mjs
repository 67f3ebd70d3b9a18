// Makes a reference of every public name from index.d.ts, in target/docs. TypeDoc reads types through TypeScript 5's own
// interface, which this project's TypeScript has no more: both are kept apart.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, step } from "./step.mjs";

const tools = join(root, "node_modules/.cache/agent-vm/typedoc");
const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
if (!existsSync(join(tools, "node_modules/typedoc/bin/typedoc"))) {
  step("npm", ["install", "--prefix", tools, ...flags, "typedoc@0.28", "typescript@5.9"]);
}
const options = {
  entryPoints: join(root, "index.d.ts"),
  tsconfig: join(root, "scripts/docs.tsconfig.json"),
  out: join(root, "target/docs"),
  name: "agent-vm",
  readme: "none",
};
const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
// Members of Node's own classes are described by Node.
step(join(tools, "node_modules/typedoc/bin/typedoc"), [...given, "--excludeExternals", "--treatWarningsAsErrors"]);
