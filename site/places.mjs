import { fileURLToPath } from "node:url";

const place = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Where VitePress reads the pages, and where it puts the site. */
export const pages = place("target/site/pages");
export const out = place("target/site/out");
