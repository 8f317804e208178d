/** Whether the optimizer of the pre-training matters for the optimizer of the fine-tuning, in words and tables of text. */

import { useApp } from "../app-state";
import type { Transfer } from "../format";
import { type Column, Grid } from "../grid";
import { List, Sentences } from "../parts";
import { slug } from "../words";

type Row = Transfer["backbones"][number]["rows"][number];

export function TransferView() {
  const { table } = useApp();
  const found = table.transfers ?? [];
  return (
    <section>
      <h2>Transfer: does the pre-training optimizer follow the backbone into fine-tuning?</h2>
      {found.length === 0 && (
        <p>No run of this table was fine-tuned from a checkpoint of this project, or made one that was fine-tuned.</p>
      )}
      {found.map((each, place) => (
        <div key={each.title}>
          <p class="soft">{each.title}</p>
          <Sentences lines={each.answer} lead />
          {each.backbones.map((backbone) => (
            <Grid
              key={backbone.backbone}
              name={slug(`transfer-${place}-${backbone.backbone}`)}
              caption={`${backbone.backbone}: rows are pre-training, columns fine-tuning; mean ± half of the 95 % interval (runs).`}
              columns={columns(backbone.optimizers)}
              rows={backbone.rows}
              plain
            />
          ))}
          <List lines={each.sentences} />
        </div>
      ))}
    </section>
  );
}

function columns(optimizers: string[]): Column<Row>[] {
  return [
    { key: "pretraining", label: "pre-training", value: (row) => row.pretraining },
    ...optimizers.map((label, place) => ({ key: slug(label), label, value: (row: Row) => row.cells[place] })),
  ];
}
