/** Colours of the figures, which stand alone when they are saved; the rest of the page takes its own from the style sheet. */

export interface Theme {
  name: "light" | "dark";
  ink: string;
  soft: string;
  line: string;
  paper: string;
  accent: string;
  above: string; // better than expected
  below: string; // worse than expected
  palette: string[];
}

export const lightTheme: Theme = {
  name: "light",
  ink: "#1b1f24",
  soft: "#57606a",
  line: "#d0d5db",
  paper: "#ffffff",
  accent: "#00498d",
  above: "#1f6fb4",
  below: "#c4501b",
  palette: ["#0b62a4", "#b8500b", "#187a4b", "#a3216b", "#6b4bb5", "#7a6a00", "#00727d", "#b3262b", "#5b5f66", "#8a4a2b"],
};

export const darkTheme: Theme = {
  name: "dark",
  ink: "#e6e8eb",
  soft: "#a3abb5",
  line: "#3a414b",
  paper: "#15181c",
  accent: "#8ec1ff",
  above: "#5aa9ea",
  below: "#ef8a55",
  palette: ["#6db3f2", "#f0965a", "#5cc48d", "#ea7fb8", "#ac94ee", "#d3bf4c", "#52c2cc", "#f2777b", "#a9afb8", "#cf9676"],
};

/** Ink or paper, whichever is easier to read on a colour that lies on the paper with some opacity. */
export function readable(theme: Theme, fill: string, opacity: number): string {
  const [over, under] = [channels(fill), channels(theme.paper)];
  const ground = luminance(over.map((v, i) => opacity * v + (1 - opacity) * under[i]!));
  const contrast = (colour: string): number => {
    const own = luminance(channels(colour));
    return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
  };
  return contrast(theme.ink) >= contrast(theme.paper) ? theme.ink : theme.paper;
}

function channels(colour: string): number[] {
  return [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16) / 255);
}

/** Of a colour by its channels in sRGB (WCAG 2). */
function luminance(rgb: number[]): number {
  const [r, g, b] = rgb.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
