/** 'Your backbone': one name in, one sentence out, with what it rests on. */

import { useEffect, useMemo, useState } from "preact/hooks";

import { go, href } from "./address";
import { onTable, useApp } from "./app-state";
import { type Found, type Marked, askHub, isHubId, lookUp, markedOf, quoted, unknown } from "./ask";
import type { Answer, Start } from "./format";
import { type Column, Grid } from "./grid";
import { Badge, Command, List } from "./parts";
import { badge, short } from "./words";

const OFFERED = 40; // names under the field

export function Search() {
  const { summary, state } = useApp();
  const [text, setText] = useState(state.ask);
  useEffect(() => setText(state.ask), [state.ask]);
  const names = useMemo(
    () => {
      const large = summary.tables.filter((t) => summary.ask.unanswered.some((u) => u.table === t.id));
      const measured = [...Object.values(summary.ask.labels), ...large.flatMap((t) => t.backbones.map((b) => b.label))];
      return [...new Set([...measured, ...Object.keys(summary.ask.names)])];
    },
    [summary],
  );
  const offered = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const begin = names.filter((n) => n.toLowerCase().startsWith(wanted));
    const inside = wanted ? names.filter((n) => !begin.includes(n) && n.toLowerCase().includes(wanted)) : [];
    return [...begin, ...inside].slice(0, OFFERED);
  }, [names, text]);
  const submit = (event: Event): void => {
    event.preventDefault();
    asking.wanted = text.trim();
    go({ ...state, ask: text.trim() });
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <label for="ask">Your backbone:</label>
      <input
        id="ask"
        type="search"
        list="names"
        autocomplete="off"
        spellcheck={false}
        placeholder="timm name, Hub id, or row of a table"
        value={text}
        onInput={(e) => setText(e.currentTarget.value)}
        onChange={(e) => names.includes(e.currentTarget.value) && submit(e)}
      />
      <datalist id="names">
        {offered.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <button type="submit">Which optimizer?</button>
    </form>
  );
}

/** The name that a person has asked for on this page; one that only stands in the address asks no other host by itself. */
const asking = { wanted: "" };

export function AnswerPart() {
  const { summary, state, config } = useApp();
  const [hub, setHub] = useState<{ name: string; found: Found | null }>({ name: "", found: null });
  const name = state.ask;
  const marked = useMemo(() => (name ? markedOf(summary, name) : []), [summary, name]);
  const here = useMemo((): Found | null => {
    const found = name ? lookUp(summary.ask, name) : null;
    const label = marked[0]?.backbone.label;
    return label === undefined ? found : { name: label, asked: name, answers: [], ...found, how: `${label} is measured here.` };
  }, [summary, name, marked]);
  const ask = (): void => {
    setHub({ name, found: null });
    void askHub(summary.ask, config.hub, name).then((found) => setHub({ name, found }));
  };
  const remote = name !== "" && here === null && isHubId(name);
  useEffect(() => {
    if (remote && asking.wanted === name && hub.name !== name) ask();
  }, [name, remote]);
  if (!name) return null;
  const host = new URL(config.hub).host;
  let found = here ?? (hub.name === name ? hub.found : null);
  if (found === null && !remote) found = unknown(summary.ask, name, `No backbone of the name ${name} is known here; an id on the Hub has an owner before it.`);
  return (
    <section class="answer" aria-label={`Answer for ${name}`}>
      <a class="close" href={href({ ...state, ask: "" })}>
        Close
      </a>
      <h2 class="offscreen">Answer for {name}</h2>
      {found ? (
        <>
          {marked.map((each) => (
            <ByMarks key={each.table.id} marked={each} />
          ))}
          {(found.answers.length > 0 || !marked.length) && <Answered found={found} />}
        </>
      ) : hub.name === name ? (
        <p role="status">Asking {host} about {name} …</p>
      ) : (
        <p role="status">
          {name} is in no table and no list here.{" "}
          <button type="button" onClick={ask}>
            Ask {host} for its config.json
          </button>
        </p>
      )}
    </section>
  );
}

/** What the marks of a table say of a backbone that it measured, where it is too large for answers. */
function ByMarks({ marked: { table, backbone, why } }: { marked: Marked }) {
  const { state } = useApp();
  return (
    <div class="source">
      <p class="big" role="status">
        {backbone.label}: {backbone.headline[0]}
      </p>
      <p class="soft">
        {backbone.headline.slice(1).join(" ")} From the marks of{" "}
        <a href={href({ ...onTable(state, table.id), view: "backbone", backbone: backbone.id })}>{table.title}</a>, where it was
        measured itself. {why}
      </p>
    </div>
  );
}

function Answered({ found }: { found: Found }) {
  const { summary, state } = useApp();
  const [first, ...others] = found.answers;
  if (!first) return <p role="status">{found.how} No table here can answer.</p>;
  const fill = (text: string): string => text.replaceAll("{backbone}", () => found.name);
  const command = (text: string): string => text.replaceAll("{backbone}", () => quoted(found.asked));
  const title = (answer: Answer): string =>
    summary.tables.find((t) => t.id === answer.table)?.title ?? answer.table;
  return (
    <>
      <p class="big" role="status">
        {first.toy && <Badge>{badge(first.toy)}</Badge>} {fill(first.sentences[0] ?? "")}
      </p>
      <p class="soft">
        {found.how} {fill(first.why)}{" "}
        <a href={href({ ...onTable(state, first.table), view: "table" })}>{title(first)}</a>
      </p>
      <details>
        <summary>What it may cost, how sure it is, and where to start</summary>
        <More answer={first} fill={fill} command={command} name="start" />
      </details>
      {others.length > 0 && (
        <details>
          <summary>What {others.length === 1 ? "the other source says" : `${others.length} other sources say`}</summary>
          {others.map((answer, i) => (
            <div key={answer.table} class="source">
              <h3>
                {title(answer)} {answer.toy && <Badge>{badge(answer.toy)}</Badge>}
              </h3>
              <p>{fill(answer.sentences[0] ?? "")}</p>
              <p class="soft">{fill(answer.why)}</p>
              <details>
                <summary>More from {title(answer)}</summary>
                <More answer={answer} fill={fill} command={command} name={`start-${i + 2}`} />
              </details>
            </div>
          ))}
        </details>
      )}
    </>
  );
}

const STARTS: Column<Start>[] = [
  { key: "optimizer", label: "optimizer", value: (s) => s.label },
  { key: "lr", label: "LR", value: (s) => s.lr, text: (s) => short(s.lr), number: true },
  { key: "weight_decay", label: "WD", value: (s) => s.weight_decay, text: (s) => short(s.weight_decay), number: true },
  { key: "from", label: "LR and WD from", value: (s) => s.source, wrap: true },
  { key: "rates", label: "learning rates to try", value: (s) => s.rates.join(" "), text: (s) => s.rates.map((v) => short(v)).join(", ") || "–", wrap: true },
  { key: "decays", label: "weight decays to try", value: (s) => s.decays.join(" "), text: (s) => s.decays.map((v) => short(v)).join(", ") || "–", wrap: true },
];

interface MoreProps {
  answer: Answer;
  fill: (text: string) => string;
  command: (text: string) => string;
  name: string;
}

function More({ answer, fill, command, name }: MoreProps) {
  const { summary } = useApp();
  return (
    <div class="more">
      <List lines={answer.sentences.slice(1).map(fill)} />
      {answer.start.length > 0 && (
        <>
          <h3>Where to start</h3>
          <Grid
            name={name}
            caption="Tune around these values on the validation split, each optimizer equally."
            columns={STARTS}
            rows={answer.start}
            plain
          />
        </>
      )}
      {answer.commands.length > 0 && (
        <>
          <h3>To try it</h3>
          <Command text={[summary.install, ...answer.commands.map(command)].join("\n")} label="Commands to try it" />
        </>
      )}
      {answer.evidence.length > 0 && (
        <>
          <h3>Evidence, from this source only</h3>
          <List lines={answer.evidence.map(fill)} />
        </>
      )}
      {answer.caveats.length > 0 && (
        <>
          <h3>What weakens it</h3>
          <List lines={answer.caveats.map(fill)} />
        </>
      )}
      {answer.next.length > 0 && (
        <>
          <h3>What to run next</h3>
          <List lines={answer.next.map(fill)} />
        </>
      )}
    </div>
  );
}
