/** Finds the answer for a name among those that were computed; decides nothing itself. */

import type { Answer, Ask, Backbone, Design, Summary, Table } from "./format";

export interface Found {
  name: string; // as it stands in sentences
  asked: string; // as it stands in commands
  how: string; // how the name was understood
  answers: Answer[];
}

/** What a name is looked up by: no prefix, no owner, no tag of the weights. */
export function keyOf(name: string): string {
  const bare = name.trim().replace(/^(hf-hub|hf_hub|timm|transformers):/i, "");
  return bare.slice(bare.lastIndexOf("/") + 1).split(".")[0]!.toLowerCase();
}

export function isHubId(name: string): boolean {
  const bare = name.trim().replace(/^(hf-hub|hf_hub|timm|transformers):/i, "");
  return /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/.test(bare) && !bare.includes("..");
}

export function hubId(name: string): string {
  return name.trim().replace(/^(hf-hub|hf_hub|timm|transformers):/i, "");
}

function own<T>(record: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** The words of a design's tags, as far as they are known. */
export function designText(design: Design): string {
  const parts = [design.family.replaceAll("_", " ").replace("cnn", "CNN"), design.stage_wise, design.block_wise, design.operator];
  return parts.filter((part) => part && part !== "-" && part !== "unknown").join(", ");
}

/** Looks a name up; null where neither a table nor the list of names has it. */
export function lookUp(ask: Ask, name: string, shown = name): Found | null {
  const wanted = name.trim().toLowerCase();
  const byLabel = Object.keys(ask.labels).find((key) => ask.labels[key]!.toLowerCase() === wanted);
  for (const key of [byLabel, wanted, keyOf(name)]) {
    if (key === undefined) continue;
    const measured = own(ask.measured, key);
    if (measured?.length) {
      const label = own(ask.labels, key) ?? shown;
      return { name: label, asked: name === label ? key : name, how: `${label} is measured here.`, answers: measured };
    }
  }
  for (const key of [wanted, keyOf(name)]) {
    const place = own(ask.names, key);
    const design = place === undefined ? undefined : ask.designs[place];
    if (design) {
      const tags = designText(design);
      const as = design.like && design.like.toLowerCase() !== key ? `, as of ${design.like}` : "";
      const how = tags
        ? `${shown} is not measured here; it is judged by its design (${tags}${as}).`
        : `${shown} is not measured here, and nothing is known of its design.`;
      return { name: shown, asked: name, how, answers: design.answers };
    }
  }
  return null;
}

export interface Marked {
  table: Table;
  backbone: Backbone;
  why: string; // why the table has no answers
}

/** Where a name is measured in tables that are too large for answers: their marks speak. */
export function markedOf({ ask, tables }: Summary, name: string): Marked[] {
  const wanted = [name.trim().toLowerCase(), keyOf(name)];
  return ask.unanswered.flatMap(({ table: id, why }) => {
    const table = tables.find((t) => t.id === id);
    const backbone = table?.backbones.find((b) => wanted.includes(b.id.toLowerCase()) || wanted.includes(b.label.toLowerCase()));
    return table && backbone ? [{ table, backbone, why }] : [];
  });
}

/** The answer to a name of which nothing is known. */
export function unknown(ask: Ask, name: string, why: string): Found {
  return { name, asked: name, how: why, answers: ask.designs[0]?.answers ?? [] };
}

/** Asks the Hub what a repository holds; only when a person has asked for it. */
export async function askHub(ask: Ask, hub: string, name: string): Promise<Found> {
  const id = hubId(name);
  let answer: Response;
  try {
    answer = await fetch(`${hub}/${id}/resolve/main/config.json`, { credentials: "omit", referrerPolicy: "no-referrer" });
  } catch {
    return unknown(ask, id, `${new URL(hub).host} could not be reached, so nothing is known of the design of ${id}.`);
  }
  if (!answer.ok) {
    const why = answer.status === 404 || answer.status === 401 ? "has no public config.json" : `answered ${answer.status}`;
    return unknown(ask, id, `${id} ${why}, so nothing is known of its design.`);
  }
  let config: { architecture?: unknown; model_type?: unknown };
  try {
    config = (await answer.json()) as typeof config;
  } catch {
    return unknown(ask, id, `The config.json of ${id} is no JSON, so nothing is known of its design.`);
  }
  const candidates = [config?.architecture, config?.model_type].filter((v): v is string => typeof v === "string" && v !== "");
  for (const candidate of candidates) {
    const found = lookUp(ask, candidate, id) ?? lookUp(ask, candidate.replaceAll("_", ""), id);
    if (found) {
      return { ...found, name: id, asked: id, how: `Its config.json says ${candidate}. ${found.how}` };
    }
  }
  const said = candidates.length ? ` says ${candidates[0]}, which is not known here` : " names no architecture";
  return unknown(ask, id, `The config.json of ${id}${said}, so nothing is known of its design.`);
}

/** A name as it is safe to paste into a shell. */
export function quoted(name: string): string {
  return /^[\w./:@+-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
}
