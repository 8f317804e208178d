/** Gets the data: inlined in the document, or beside it, a chunk of details at a time. */

import type { CellMore, Chunk, Config, Summary, TableMore } from "./format";

const FORMAT = 1;

/** A reason that a visitor can act on. */
export class DataError extends Error {}

function element(id: string): string {
  return document.getElementById(id)?.textContent ?? "";
}

export function readConfig(): Config {
  const text = element("bocb-config");
  if (!text) throw new DataError("This document holds no data of bocb_hf.");
  const config = JSON.parse(text) as Config;
  if (config.format !== FORMAT) {
    throw new DataError(`These data have format ${config.format}, and this page reads ${FORMAT}: write both again.`);
  }
  return config;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(bytes: Uint8Array<ArrayBuffer>): Promise<unknown> {
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const stream = new Response(bytes).body!;
  return new Response(packed ? stream.pipeThrough(new DecompressionStream("gzip")) : stream).json();
}

async function ask(address: string, range?: string): Promise<Response> {
  let answer: Response;
  try {
    // credentials as the preload in the document has them, which is used only for an equal request
    answer = await fetch(address, { headers: range ? { Range: range } : {}, credentials: "same-origin", referrerPolicy: "no-referrer" });
  } catch {
    throw new DataError(`${address} could not be reached.`);
  }
  if (!answer.ok) throw new DataError(`${address} answered ${answer.status} ${answer.statusText}.`);
  return answer;
}

export async function readSummary(config: Config): Promise<Summary> {
  const bytes =
    config.summary === null
      ? fromBase64(element("bocb-summary"))
      : new Uint8Array(await (await ask(config.summary)).arrayBuffer());
  const summary = (await unpack(bytes)) as Summary;
  if (summary.format !== FORMAT) {
    throw new DataError(`These data have format ${summary.format}, and this page reads ${FORMAT}: write both again.`);
  }
  return summary;
}

/** Reads chunks of the details, each at most once. */
export class Details {
  private whole: Uint8Array<ArrayBuffer> | null = null;
  private readonly chunks = new Map<number, Promise<Chunk>>();

  constructor(
    private readonly config: Config,
    private readonly summary: Summary,
  ) {}

  private chunk(i: number): Promise<Chunk> {
    let found = this.chunks.get(i);
    if (found === undefined) {
      found = this.read(i);
      found.catch(() => this.chunks.delete(i)); // the next click asks again
      this.chunks.set(i, found);
    }
    return found;
  }

  private async read(i: number): Promise<Chunk> {
    const start = this.summary.chunks[i];
    const end = this.summary.chunks[i + 1];
    if (start === undefined || end === undefined) throw new DataError("The data hold no such part: write them again.");
    const chunk = (await unpack(await this.bytes(start, end))) as Chunk;
    if (chunk.id !== this.summary.id) throw new DataError("The data were updated: load the page again.");
    return chunk;
  }

  private async bytes(start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.whole === null && this.config.details === null) this.whole = fromBase64(element("bocb-details"));
    if (this.whole === null) {
      const answer = await ask(this.config.details!, `bytes=${start}-${end - 1}`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (answer.status === 206) return bytes;
      this.whole = bytes; // a host without ranges sends everything
    }
    if (this.whole.length < end) throw new DataError("The data were updated: load the page again.");
    return this.whole.slice(start, end);
  }

  async table(i: number): Promise<TableMore> {
    const chunk = await this.chunk(i);
    if (!chunk.table) throw new DataError("The data hold no such part: write them again.");
    return chunk.table;
  }

  async cell(i: number, key: number): Promise<CellMore> {
    const found = (await this.chunk(i)).cells?.[String(key)];
    if (!found) throw new DataError("The data hold no such cell: write them again.");
    return found;
  }

  /** Cells by key; those without a chunk are left out. */
  async cells(wanted: [key: number, chunk: number | null | undefined][]): Promise<Map<number, CellMore>> {
    const found = new Map<number, CellMore>();
    await Promise.all(
      wanted.map(async ([key, chunk]) => {
        if (chunk !== null && chunk !== undefined) found.set(key, await this.cell(chunk, key));
      }),
    );
    return found;
  }
}
