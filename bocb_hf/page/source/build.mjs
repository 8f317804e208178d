// Bundles the page: `node build.mjs FOLDER` writes page.js, page.css and LICENSES.txt there, the same bytes each time.
import { build } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "..", "bundle"));
mkdirSync(out, { recursive: true });

const result = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
  logLevel: "warning",
});
await build({
  absWorkingDir: here,
  entryPoints: { page: "src/style.css" },
  outdir: out,
  minify: true,
  target: ["chrome111", "firefox113", "safari16.4"],
  charset: "utf8",
  logLevel: "warning",
});
for (const file of result.outputFiles) {
  // an inline script ends at the first end tag, wherever it stands
  writeFileSync(file.path, file.text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--"));
}

// The licence of each library that is in the bundle.
const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
if (!packages.size) throw new Error("no library found below node_modules beside build.mjs, so no licence: is it a link? use `npm ci`");
const licences = [...packages].sort().map((name) => {
  const about = JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8"));
  const text = readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim();
  return `${name} ${about.version} (${about.license})\n\n${text}\n`;
});
writeFileSync(join(out, "LICENSES.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));
