/** A longer word is not compared: what was meant by it nobody can tell. */
const MAX_LENGTH = 64;

/** The word that was meant, if one is near: at most a third of its letters differ. Letter case and `_` do not matter. */
export function nearestWord(given: string, words: readonly string[]): string | undefined {
  if (given.length > MAX_LENGTH) return undefined;
  const ranked = words
    .map((word) => ({ word, distance: distanceOf(plain(given), plain(word)) }))
    .toSorted((left, right) => left.distance - right.distance);
  const [nearest] = ranked;
  return nearest !== undefined && nearest.distance * 3 <= nearest.word.length ? nearest.word : undefined;
}

function plain(word: string): string {
  return word.replaceAll(/[_-]/g, '').toLowerCase();
}

/** Letters to put in, take out or change to make one word of the other (Levenshtein). */
function distanceOf(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...from].entries()) {
    const next = [line + 1];
    for (let column = 1; column <= to.length; column++) {
      const changed = (row[column - 1] ?? 0) + (to[column - 1] === letter ? 0 : 1);
      next.push(Math.min(changed, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
