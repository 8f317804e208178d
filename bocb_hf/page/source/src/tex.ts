/** Tables for LaTeX. */

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

const LONGEST = 30; // letters of a word that may not be broken
const PIECE = 10;

/** Escapes text for LaTeX, on one line, so that no sign in it is obeyed; what pdfLaTeX cannot set becomes a question mark. */
export function tex(text: string): string {
  return text.trim().split(/\s+/).map(word).join(" ");
}

function word(text: string): string {
  const signs = [...text];
  let out = "";
  signs.forEach((sign, i) => {
    const code = sign.codePointAt(0)!;
    if (signs.length > LONGEST && i > 0 && i % PIECE === 0) out += "\\hspace{0pt}"; // where a line may end
    out += TEX[sign] ?? (code < 0x20 || code === 0x7f ? "" : code < 0x180 ? sign : "?");
  });
  return out;
}

const SIGN = 4.6; // pt of a letter, on average
const BETWEEN = 5; // pt between two columns
const WIDEST = 530; // pt of a table before it is narrowed: letters of 5 pt where text is 345 pt wide
const LONG = 45; // rows of a block
const CELL = 40; // letters of a cell above which it is broken into lines
const MANY = 9; // columns above which names stand upright

/** Letters of a text that is escaped already. */
function lettersOf(text: string): number {
  return text.replace(/\\hspace\{0pt\}|\\[A-Za-z]+|[{}$\\,]/g, "").length;
}

interface TexColumn {
  head: string;
  side: string;
  width: number;
}

/** Head, alignment and width of a column, from what is in it. */
function columnOf(head: string, cells: readonly string[], side: string, upright: boolean): TexColumn {
  const most = Math.max(1, ...cells.map(lettersOf));
  if (most > CELL) return { head, side: `p{${CELL * SIGN}pt}`, width: CELL * SIGN };
  if (upright && side === "r" && lettersOf(head) > most && !head.includes(" ")) {
    return { head: `\\rotatebox{90}{${head}}`, side, width: most * SIGN };
  }
  const room = Math.max(most, 12);
  const lines: string[] = [];
  for (const part of head.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && lettersOf(last) + lettersOf(part) < room) lines[lines.length - 1] = `${last} ${part}`;
    else lines.push(part);
  }
  const broken = lines.length > 1 ? `\\shortstack[${side}]{${lines.join("\\\\")}}` : head;
  return { head: broken, side, width: Math.max(most, ...lines.map(lettersOf)) * SIGN };
}

/** Places of columns in blocks that are not too wide, about equal; the first column is in each. */
function blocksOf(columns: readonly TexColumn[]): number[][] {
  const [first, ...rest] = columns.map((c) => c.width + BETWEEN);
  const room = Math.max(60, WIDEST - (first ?? 0));
  const total = rest.reduce((sum, w) => sum + w, 0);
  const each = Math.max(total / Math.ceil(total / room), Math.max(0, ...rest));
  const blocks: number[][] = [];
  let wide = Infinity;
  rest.forEach((w, i) => {
    if (wide + w / 2 > each) {
      blocks.push([0]);
      wide = 0;
    }
    blocks.at(-1)!.push(i + 1);
    wide += w;
  });
  return blocks.length ? blocks : [[0]];
}

/**
 * A LaTeX table that fits a page: in blocks that are neither too wide nor too long, each narrowed to the width of the text.
 *
 * @param head Labels, escaped like everything else; the first column is repeated in each block.
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
  const all = head.map((h, c) => columnOf(h, rows.map((row) => row[c] ?? ""), sides[c] ?? "l", head.length > MANY));
  const blocks: string[] = [];
  for (const columns of blocksOf(all)) {
    for (let from = 0; from < Math.max(1, rows.length); from += LONG) {
      const first = blocks.length === 0;
      const part = rows.slice(from, from + LONG).map((row, i) => {
        const line = `${columns.map((c) => row[c] ?? "").join(" & ")} \\\\`;
        return rules.has(from + i) && i > 0 ? `\\addlinespace\n${line}` : line;
      });
      blocks.push(
        [
          "\\begin{table}[p]",
          `\\centering\\footnotesize\\setlength{\\tabcolsep}{${BETWEEN / 2}pt}`,
          first ? `\\caption{${caption}}` : `\\caption{Table~\\ref{tab:${label}}, continued.}`,
          ...(first ? [`\\label{tab:${label}}`] : []),
          "\\vspace{4pt}",
          "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
          `\\begin{tabular}{${columns.map((c) => all[c]!.side).join("")}}`,
          "\\toprule",
          `${columns.map((c) => all[c]!.head).join(" & ")} \\\\`,
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
