/** A stream's messages, one at a time; null when the caller has ended. */
export function nextMessageOf<T>(requests: AsyncIterable<T>): () => Promise<T | null> {
  const iterator = requests[Symbol.asyncIterator]();
  return async () => {
    const next = await iterator.next();
    return next.done === true ? null : next.value;
  };
}
