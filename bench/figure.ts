/** One measured quantity, beside the floor of the same run that it is a multiple of. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is compared with; the ratio is value / floor, or value − floor where `over` says so. */
  readonly floor?: { readonly name: string; readonly value: number };
  readonly over?: 'ratio' | 'difference';
  /** Largest ratio or difference that is wanted. */
  readonly goal?: number;
}

/** The value in terms of its floor. */
export function relation({ value, floor, over = 'ratio' }: Figure): number | null {
  if (floor === undefined) return null;
  return over === 'ratio' ? value / floor.value : value - floor.value;
}

/** A table for people, one line a figure. */
export function formatFigures(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, value, unit, floor, over, goal } = figure;
    const related = relation(figure);
    const compared =
      floor === undefined || related === null
        ? ''
        : over === 'difference'
          ? `${signed(related)} ${unit} over ${floor.name} (${round(floor.value)} ${unit})`
          : `${related.toFixed(2)} x ${floor.name} (${round(floor.value)} ${unit})`;
    const wanted = goal === undefined || related === null ? '' : `goal ${goal}: ${related <= goal ? 'met' : 'MISSED'}`;
    return [name, `${round(value)} ${unit}`, compared, wanted];
  });
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Three significant digits, whole numbers above a hundred. */
export function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function signed(value: number): string {
  return value < 0 ? round(value) : `+${round(value)}`;
}
