/** Labels of optimizers and backbones by their ids. */

import { useApp } from "../app-state";

export function useNames() {
  const { table } = useApp();
  const optimizers = new Map(table.optimizers.map((o, i) => [o.id, { label: o.label, i }]));
  const backbones = new Map(table.backbones.map((b, i) => [b.id, { label: b.label, i }]));
  return {
    optimizer: (id: string): string => optimizers.get(id)?.label ?? id,
    place: (id: string): number => optimizers.get(id)?.i ?? 0,
    backbone: (id: string): string => backbones.get(id)?.label ?? id,
  };
}
