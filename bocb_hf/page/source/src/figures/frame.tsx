/** A figure on the page: as wide as its place, in the colours of the page, saved as SVG or PNG in those of paper. */

import { type ComponentChild, render } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { useApp } from "../app-state";
import { download, png } from "../save";
import { type Theme, lightTheme } from "../theme";

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";
const SAVED_WIDTH = 760;

export interface Sheet {
  theme: Theme;
  width: number;
}

/** Draws a figure for a sheet; its root is an `Svg`. */
export type Draw = (sheet: Sheet) => ComponentChild;

interface FrameProps {
  name: string; // of its files, which begin with that of the table
  title: string;
  about?: string; // what it shows and how it is read
  draw: Draw;
  most?: number; // widest that it becomes, px
}

export function Figure({ name, title, about, draw, most = 860 }: FrameProps) {
  const { theme, table } = useApp();
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = place.current!;
    const measure = (): void => setWidth(Math.max(280, Math.min(most, Math.floor(element.clientWidth))));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [most]);
  const file = `${table.id}-${name}`;
  return (
    <figure class="figure">
      <figcaption>
        <h3>{title}</h3>
        {about && <p class="soft">{about}</p>}
      </figcaption>
      <div ref={place} class="drawing">
        {width > 0 && draw({ theme, width })}
      </div>
      <p class="files">
        <button type="button" class="small" onClick={() => download(`${file}.svg`, alone(draw).text, "image/svg+xml")}>
          SVG
        </button>
        <button type="button" class="small" onClick={() => void savePng(file, draw)}>
          PNG
        </button>
      </p>
    </figure>
  );
}

/** The figure as a document of its own. */
export function alone(draw: Draw): { text: string; width: number; height: number } {
  const place = document.createElement("div");
  render(draw({ theme: lightTheme, width: SAVED_WIDTH }), place);
  const svg = place.querySelector("svg")!;
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}\n`;
  const size = { width: Number(svg.getAttribute("width")), height: Number(svg.getAttribute("height")) };
  render(null, place);
  return { text, ...size };
}

export async function savePng(file: string, draw: Draw): Promise<void> {
  const { text, width, height } = alone(draw);
  download(`${file}.png`, await png(text, width, height), "image/png");
}

/** The root of a figure, on the ground of its theme. */
export function Svg(props: { sheet: Sheet; height: number; label: string; children: ComponentChild }) {
  const { theme, width } = props.sheet;
  const height = Math.ceil(props.height);
  return (
    <svg
      role="img"
      aria-label={props.label}
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      font-family={FONT}
      font-size="12"
      fill={theme.ink}
    >
      <rect width={width} height={height} fill={theme.paper} />
      {props.children}
    </svg>
  );
}
