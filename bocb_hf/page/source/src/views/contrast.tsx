/** Contrast: do CNNs live better with SGD than modern backbones do? */

import { useApp, useTableMore } from "../app-state";
import { Rows } from "../figures/axes";
import { Figure } from "../figures/frame";
import { Sentences, Waiting } from "../parts";

export function ContrastView() {
  const { table } = useApp();
  const more = useTableMore();
  const rows = more !== undefined && !(more instanceof Error) ? more.differences : [];
  return (
    <section>
      <h2>Contrast: do CNNs live better with SGD than modern backbones do?</h2>
      {table.contrast.length ? <Sentences lines={table.contrast} lead /> : <p>This table has no contrast of families.</p>}
      {more instanceof Error && <Waiting found={more} what="the analysis" />}
      {rows.length > 0 && (
        <Figure
          name="contrast"
          title="SGD minus adaptive"
          about="Difference of the means of both groups of optimizers on each backbone, in points; right of zero SGD is ahead."
          draw={(sheet) => (
            <Rows
              sheet={sheet}
              axis="SGD minus adaptive, points"
              label={`SGD minus adaptive on each backbone of ${table.title}`}
              rows={rows.map((row) => ({
                key: table.backbones[row.backbone]!.id,
                label: table.backbones[row.backbone]!.label,
                group: table.backbones[row.backbone]!.kind,
                marks: [row],
              }))}
              zero
            />
          )}
        />
      )}
    </section>
  );
}
