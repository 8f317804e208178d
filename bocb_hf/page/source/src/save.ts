/** Tables and figures as files. */

export interface Field {
  key: string;
  label: string;
  number: boolean;
}

export function download(name: string, content: BlobPart, type: string): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

type Value = string | number | boolean | null | undefined;

function csvCell(value: Value): string {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // else a spreadsheet obeys it
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Raw values; what is missing is empty. */
export function csv(keys: readonly string[], rows: readonly (readonly Value[])[]): string {
  return [keys, ...rows].map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
}

/** Tab-separated text, which spreadsheets and editors take from the clipboard. */
export function tsv(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, ...rows].map((row) => row.map((v) => v.replace(/[\t\r\n]+/g, " ")).join("\t")).join("\n") + "\n";
}

const TEX: Record<string, string> = {
  "\\": "\\textbackslash{}",
  "{": "\\{",
  "}": "\\}",
  $: "\\$",
  "&": "\\&",
  "#": "\\#",
  "%": "\\%",
  _: "\\_",
  "^": "\\textasciicircum{}",
  "~": "\\textasciitilde{}",
  "<": "\\textless{}",
  ">": "\\textgreater{}",
  "|": "\\textbar{}",
  '"': "{\\char34}",
  "`": "\\textasciigrave{}",
  "[": "{[}",
  "]": "{]}",
  "*": "{*}",
  "★": "$\\bigstar$",
  "☆": "$\\star$",
  "–": "--",
  "—": "---",
  "−": "$-$",
  "±": "$\\pm$",
  "×": "$\\times$",
  "≥": "$\\geq$",
  "≤": "$\\leq$",
  "…": "\\dots{}",
  "·": "$\\cdot$",
  "κ": "$\\kappa$",
  "α": "$\\alpha$",
  "γ": "$\\gamma$",
  "σ": "$\\sigma$",
  "‖": "$\\|$",
  "₂": "$_2$",
  "₀": "$_0$",
  "₃": "$_3$",
  "†": "\\dag{}",
  "’": "'",
  "“": "``",
  "”": "''",
};

/** Escapes text for LaTeX, on one line, so that no sign in it is obeyed; what pdfLaTeX cannot set becomes a question mark. */
export function tex(text: string): string {
  let out = "";
  for (const sign of text.replace(/\s+/g, " ")) {
    const code = sign.codePointAt(0)!;
    out += TEX[sign] ?? (code < 0x20 || code === 0x7f ? "" : code < 0x180 ? sign : "?");
  }
  return out;
}

/** Columns of a LaTeX table side by side on a page; more go into a table below. */
const WIDE = 20;
const LONG = 45;

/**
 * A LaTeX table that fits a page: in blocks of at most 20 columns and 45 rows, each narrowed to the width of the text.
 *
 * @param head Labels; the first column is repeated in each block.
 * @param rows Already escaped.
 * @param sides One letter a column, `l` or `r`.
 * @param rules Rows before which a little space separates groups.
 */
export function texTable(
  caption: string,
  label: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  sides: string,
  rules: ReadonlySet<number> = new Set(),
): string {
  const blocks: string[] = [];
  const wide: number[][] = [];
  for (let start = 1; start < head.length; start += WIDE) {
    wide.push([0, ...Array.from({ length: Math.min(WIDE, head.length - start) }, (_, i) => start + i)]);
  }
  if (!wide.length) wide.push([0]);
  for (const columns of wide) {
    for (let from = 0; from < Math.max(1, rows.length); from += LONG) {
      const first = blocks.length === 0;
      const part = rows.slice(from, from + LONG).map((row, i) => {
        const line = `${columns.map((c) => row[c] ?? "").join(" & ")} \\\\`;
        return rules.has(from + i) && i > 0 ? `\\addlinespace\n${line}` : line;
      });
      blocks.push(
        [
          "\\begin{table}[p]",
          "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}",
          `\\caption{${first ? caption : `${caption} (continued)`}}`,
          ...(first ? [`\\label{tab:${label}}`] : []),
          "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
          `\\begin{tabular}{${columns.map((c) => sides[c] ?? "l").join("")}}`,
          "\\toprule",
          `${columns.map((c) => head[c]).join(" & ")} \\\\`,
          "\\midrule",
          ...part,
          "\\bottomrule",
          "\\end{tabular}}",
          "\\end{table}",
        ].join("\n"),
      );
    }
  }
  const needs = "% needs \\usepackage[T1]{fontenc}, \\usepackage{textcomp,booktabs,graphicx,amssymb}";
  return `${needs}\n${blocks.join("\n\n")}\n`;
}

/** Turns a figure into a PNG of twice its size, on its own ground. */
export async function png(svg: string, width: number, height: number): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  const context = canvas.getContext("2d")!;
  context.scale(2, 2);
  context.drawImage(image, 0, 0, width, height);
  return new Promise((done, failed) =>
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("the browser drew no PNG"))), "image/png"),
  );
}
