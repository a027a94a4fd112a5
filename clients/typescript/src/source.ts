import type { Contract } from './errors.js';
import { type Obtain, Renewer } from './renewer.js';
import { MemoryStore, type TokenStore } from './store.js';
import type { Token, TokenSource } from './token.js';
import { originOf, Pace, type Patience, Wire } from './wire.js';

/** What all sources can be told. */
export interface SourceOptions extends Patience {
  /** The server's address, such as https://auth.example.com. A path in it stands before the contract's own. */
  baseURL: string | URL;
  /** Take a baseURL that is http and not on this machine. Everything goes over the wire in the clear then, secrets too. */
  plainHTTP?: boolean;
  /** How long to wait for an answer, in milliseconds, 10,000 if left out. */
  timeout?: number;
  /** Where tokens are kept, in memory if left out. */
  store?: TokenStore;
  /** Is told what went wrong and was got over, such as a renewal that failed while the old token was good; nobody if left out. */
  log?: (error: unknown) => void;
}

/** What the four sources have in common. It has no property that could be printed. */
export abstract class Source implements TokenSource {
  readonly #renewer: Renewer;
  readonly #wire: Wire;

  /** @internal */
  constructor(options: SourceOptions, contract: Contract, doing: string, whose: () => Promise<string[]>, obtain: (wire: Wire) => Obtain) {
    this.#wire = new Wire(options.baseURL, options.plainHTTP ?? false, options.timeout ?? 10_000, new Pace(options));
    const here = async () => [doing, this.#wire.base, ...(await whose())];
    this.#renewer = new Renewer({
      contract,
      doing,
      whose: here,
      obtain: obtain(this.#wire),
      store: options.store ?? new MemoryStore(),
      pace: this.#wire.pace,
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
