const MEBIBYTE = 1024 * 1024;
/** What arrives of a stream before its reader asks for it: the HTTP/2 window that grpc-js leaves as it is. */
const WINDOW_BYTES = 64 * 1024;
const LIMITS = { ofAddress: 64 * MEBIBYTE, ofAll: 512 * MEBIBYTE } as const;

/**
 * What the open calls of strangers may hold together: each counts as the largest message that its method takes, which it may leave
 * unfinished. The address is asked first, so that one cannot use up what is there for all.
 */
export class OpenRequests {
  readonly #limits: { readonly ofAddress: number; readonly ofAll: number };
  readonly #addresses = new Map<string, number>();
  #all = 0;

  constructor(limits: { readonly ofAddress: number; readonly ofAll: number } = LIMITS) {
    this.#limits = limits;
  }

  /** Undefined when there is no room for it; else gives it back, once. */
  open(address: string, messageBytes: number): (() => void) | undefined {
    const bytes = messageBytes + WINDOW_BYTES;
    const own = (this.#addresses.get(address) ?? 0) + bytes;
    if (own > this.#limits.ofAddress || this.#all + bytes > this.#limits.ofAll) return undefined;
    this.#addresses.set(address, own);
    this.#all += bytes;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      this.#close(address, bytes);
    };
  }

  #close(address: string, bytes: number): void {
    this.#all -= bytes;
    const left = (this.#addresses.get(address) ?? 0) - bytes;
    if (left > 0) this.#addresses.set(address, left);
    else this.#addresses.delete(address);
  }
}
