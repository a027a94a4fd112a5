import type { Doing } from './errors.js';
import { type Held, type Obtain, type Renewer, renewer } from './renewer.js';
import { MemoryStore, type TokenStore } from './store.js';
import { reveal, type Secret, type Token, type TokenSource } from './token.js';
import { type Ask, originOf, type Patience, Wire } from './wire.js';

/** Where the server is, and how long to wait for it. */
export interface WireOptions extends Patience {
  /** The server's address, such as https://auth.example.com. A path in it stands before the contract's own. */
  baseURL: string | URL;
  /** Take a baseURL that is http and not on this machine. Everything goes over the wire in the clear then, secrets too. */
  plainHTTP?: boolean;
  /** How long to wait for an answer, in milliseconds, 10,000 if left out. */
  timeout?: number;
}

/** What all sources can be told. */
export interface SourceOptions extends WireOptions {
  /** Where tokens are kept, in memory if left out. */
  store?: TokenStore;
  /** Is told what went wrong and was got over, such as a renewal that failed while the old token was good; nobody if left out. */
  log?: (error: unknown) => void;
}

/** What the four sources have in common. It has no property that could be printed. */
export abstract class Source implements TokenSource {
  readonly #renewer: Renewer;
  readonly #wire: Wire;

  /** @internal whose: what tells the credential from others. exchange: what to send for a token. refresh: whether there is
   * another way to one. */
  constructor(
    options: SourceOptions,
    doing: Doing,
    whose: Secret[],
    exchange: () => Promise<Omit<Ask<Held>, keyof Doing>>,
    refresh?: (wire: Wire, ...args: Parameters<Obtain>) => Promise<Held | undefined>,
  ) {
    const wire = new Wire(options);
    this.#wire = wire;
    this.#renewer = renewer({
      doing,
      pace: wire,
      whose: async () => [doing.doing, wire.base, ...(await Promise.all(whose.map(reveal)))],
      obtain: async (held, save) => (await refresh?.(wire, held, save)) ?? wire.persist({ ...doing, ...(await exchange()) }),
      store: options.store ?? new MemoryStore(),
      log: options.log ?? (() => {}),
    });
  }

  get origin(): string {
    return originOf(this.#wire.base, true);
  }

  /**
   * A token that is good for a while: the one there is, until five minutes before its end (a tenth of its life, where that is
   * shorter than 50 minutes), then the next. Many callers at once cause one exchange. If a renewal fails, the token before
   * it is given until it expires; then a {@link GatehouseError} is thrown.
   */
  token(options?: { signal?: AbortSignal | undefined }): Promise<Token> {
    return this.#renewer.token(options?.signal);
  }

  refused(token: Token): void {
    this.#renewer.refused(token);
  }

  /** @internal */
  protected renewer(): Renewer {
    return this.#renewer;
  }

  /** @internal */
  protected wire(): Wire {
    return this.#wire;
  }
}
