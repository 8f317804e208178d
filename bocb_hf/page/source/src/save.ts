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
