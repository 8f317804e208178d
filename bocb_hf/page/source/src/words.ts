/** How numbers and names are written. Nothing here decides what a number means. */

export const MINUS = "−";

/**
 * A number with fixed digits and thousands separators, or a dash where there is none.
 *
 * It rounds as Python does, by the exact value and ties to even, so that the page and the terminal show the same digits.
 */
export function fixed(value: number | null | undefined, digits = 1): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  let text = Math.abs(value).toFixed(digits);
  const halves = Math.abs(value) * 2 ** (digits + 1);
  if (Number.isInteger(halves) && halves % 2 === 1) {
    const below = Math.floor(Math.abs(value) * 10 ** digits); // a tie: exact, since it is a multiple of a half
    text = ((below % 2 === 0 ? below : below + 1) / 10 ** digits).toFixed(digits);
  }
  if (text.length > 3 + (digits && digits + 1)) text = text.replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",");
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** A number with that many significant digits, as a person would write it. */
export function short(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    return value.toExponential(Math.max(0, digits - 1)).replace(/\.?0+e/, "e").replace("e+", "e").replaceAll("-", MINUS);
  }
  if (size >= 10 ** digits) return fixed(value, 0);
  return String(Number(value.toPrecision(digits))).replace("-", MINUS);
}

/** Half of an interval or its two sides: `±1.2`, or `−10.5/+1.6` where they differ. */
export function reach(mean: number, low: number | null | undefined, high: number | null | undefined): string {
  if (low === null || low === undefined || high === null || high === undefined) return "";
  const down = fixed(mean - low);
  const up = fixed(high - mean);
  return down === up ? `±${up}` : `${MINUS}${down}/+${up}`;
}

/** Parameters as people say them: `23.7 M`. */
export function millions(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  if (count >= 1e9) return `${short(count / 1e9)} B`;
  if (count >= 1e6) return `${short(count / 1e6)} M`;
  return count >= 1e3 ? `${short(count / 1e3)} k` : String(count);
}

/** A name cut in its middle, so that names with the same beginning stay apart. */
export function middle(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.ceil((most - 1) / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}

/** What the training loss of a table is in: that of a classifier has a unit. */
export function lossLabel(metric: string): string {
  return metric === "top-1" ? "training loss, nats" : "training loss";
}

/** `1 cell`, `2 cells`. */
export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${String(n).replace(/\B(?=(\d{3})+$)/g, ",")} ${n === 1 ? noun : plural}`;
}

/** A piece of a file's name: letters, digits and dashes. */
export function slug(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/[^A-Za-z0-9.]+/g, "-")
    .replace(/^[-.]+|[-.]+$/g, "")
    .toLowerCase()
    .slice(0, 80);
}

/** What a table that says little of other networks is marked with, short. */
export function badge(toy: string): string {
  return toy.split(":", 1)[0] ?? toy;
}
