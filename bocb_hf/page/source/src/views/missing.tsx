/** Missing cells, and how they are filled. */

import { useApp } from "../app-state";
import { type Column, Grid } from "../grid";
import { Command } from "../parts";
import { STATUS, type Selection, cellOf } from "../selection";
import { count, millions } from "../words";

interface Missing {
  backbone: string;
  optimizer: string;
  parameters: number | null;
  status: string;
  command: string;
}

export function MissingView({ selection }: { selection: Selection }) {
  const { table, summary } = useApp();
  const rows: Missing[] = [];
  for (const b of selection.backbones) {
    for (const o of selection.optimizers) {
      const status = table.cells.status[cellOf(table, b, o)]!;
      if (status !== "missing" && status !== "interrupted") continue;
      const [backbone, optimizer] = [table.backbones[b]!, table.optimizers[o]!];
      rows.push({
        backbone: backbone.label,
        optimizer: optimizer.label,
        parameters: backbone.parameters,
        status: STATUS[status]!,
        command: `${backbone.train} ${optimizer.train}`,
      });
    }
  }
  const columns: Column<Missing>[] = [
    { key: "backbone", label: "backbone", value: (r) => r.backbone },
    { key: "optimizer", label: "optimizer", value: (r) => r.optimizer },
    { key: "parameters", label: "parameters", value: (r) => r.parameters, text: (r) => millions(r.parameters), number: true },
    { key: "status", label: "status", value: (r) => r.status },
    { key: "command", label: "command", value: (r) => r.command, view: (r) => <code>{r.command}</code> },
  ];
  return (
    <section>
      <h2>Missing cells</h2>
      <p class="big">
        {rows.length ? `${count(rows.length, "cell")} ${rows.length === 1 ? "has" : "have"} no finished run.` : "Every cell that is shown has a finished run."}
      </p>
      {rows.length > 0 && (
        <Grid name="missing" caption="What would fill them." columns={columns} rows={rows} size={(r) => r.parameters} />
      )}
      <h3>How to submit</h3>
      <ol class="list">
        <li>
          Tune with one seed and train with three fresh ones; <code>bocb sweep</code> does both. Another backbone or
          optimizer makes a new column or row; further seeds of a cell make its interval narrower.
        </li>
        <li>Publish what you trained, and propose it to the results data set:</li>
      </ol>
      <Command text={[summary.install, ...summary.submit].join("\n")} label="Commands that submit runs" />
      <p class="soft">A maintainer merges what <code>bocb validate</code> accepts; the next <code>bocb publish</code> counts your runs.</p>
    </section>
  );
}
