/** Small parts that several views use. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { Table } from "./format";
import { badge } from "./words";

/** Sentences, one below the other. */
export function Sentences({ lines, lead }: { lines: readonly string[]; lead?: boolean }) {
  if (!lines.length) return null;
  return (
    <div class={lead ? "headline" : "sentences"}>
      {lines.map((line) => (
        <p key={line}>{line}</p>
      ))}
    </div>
  );
}

export function List({ lines }: { lines: readonly string[] }) {
  if (!lines.length) return null;
  return (
    <ul class="list">
      {lines.map((line) => (
        <li key={line}>{line}</li>
      ))}
    </ul>
  );
}

/** Puts text on the clipboard; a `file://` page may not use the newer way. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function CopyButton({ text, label = "Copy", title }: { text: () => string; label?: string; title?: string }) {
  const [said, say] = useState("");
  const press = async (): Promise<void> => {
    say((await copy(text())) ? "Copied" : "Not allowed here");
    setTimeout(() => say(""), 1500);
  };
  return (
    <button type="button" class="small" title={title} onClick={press}>
      <span aria-live="polite">{said || label}</span>
    </button>
  );
}

/** Something to type in a terminal, with a button that copies it. */
export function Command({ text, label }: { text: string; label: string }) {
  return (
    <div class="command">
      <pre tabIndex={0} aria-label={label}>
        {text}
      </pre>
      <CopyButton text={() => text} />
    </div>
  );
}

export function Badge({ children, title }: { children: ComponentChildren; title?: string }) {
  return (
    <span class="badge" title={title}>
      {children}
    </span>
  );
}

export function Toy({ table }: { table: Table }) {
  return table.toy ? <Badge title={table.toy}>{badge(table.toy)}</Badge> : null;
}

/** What stands where something is on its way, or could not be read. */
export function Waiting({ found, what }: { found: Error | undefined; what: string }) {
  return found ? (
    <p class="notice" role="alert">
      {what} could not be read: {found.message}
    </p>
  ) : (
    <p class="soft" role="status">
      Reading {what} …
    </p>
  );
}

export function Pairs({ of }: { of: Record<string, string | number> }) {
  return (
    <dl class="pairs">
      {Object.entries(of).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{String(value)}</dd>
        </div>
      ))}
    </dl>
  );
}
