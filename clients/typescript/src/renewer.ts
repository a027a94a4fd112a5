import { dateOf, failure, GatehouseError, isObject, type Contract } from './errors.js';
import type { TokenStore } from './store.js';
import { claims, isToken, Token } from './token.js';
import { type Answer, type Pace, waitFor } from './wire.js';

/** What is kept of an exchange. Times are by the local clock. */
export interface Held {
  token: string;
  type: string;
  expires: number;
  life: number; // how long it lived when it was given
  scope?: string; // contract 4
  refresh?: string; // contract 3
  refreshExpires?: number;
  spending?: Spending;
}

/** A refresh that was begun: the refresh token may be spent, and the answer can be had again under the key, for a while. */
export interface Spending {
  key: string;
  since: number; // when it was first sent
}

/** Saves what is known so far, in the midst of an exchange. */
export type Save = (held: Held) => Promise<void>;

/** Gets a new token. held is what there was before, for whatever of it is of use. */
export type Obtain = (held: Held | undefined, save: Save) => Promise<Held>;

/** What a Renewer renews, and with what. */
export interface Config {
  contract: Contract; // of its errors, and
  doing: string; // what they say was being done
  whose: () => Promise<string[]>; // which credential of which server the tokens are for
  obtain: Obtain;
  store: TokenStore;
  pace: Pace;
  log: (error: unknown) => void;
}

/** So long before its end a token of 50 minutes or more is renewed; a shorter one when 90 % of its life are over. */
const early = 5 * 60_000;

/** After a token was replaced because it was refused, the next refusal within this time replaces nothing: where the API
 * itself says 401 to everything, new tokens do not help. */
const refusals = 10_000;

/**
 * Keeps one token and renews it in time, once for all who ask.
 *
 * The invariant: what it hands out was neither refused nor over, as far as it can know; a renewal that fails takes nothing
 * away while the token before it is good.
 */
export class Renewer {
  readonly #c: Config;
  readonly #instance = draw();
  #identity = ''; // of whoever's tokens were loaded last

  #held: Held | undefined;
  #token: Token | undefined; // of held
  #refused = false; // the token was
  #replaced = -Infinity; // when a refused one was replaced last
  #renewAt = 0;
  #renewing: Promise<void> | undefined;
  #notBefore = 0; // when to renew, after that has failed and the token goes on
  #failed: { error: GatehouseError; since: number; until: number } | undefined; // what stands for a while where there is no token
  #asking = false; // a call asks for a new one in band
  #asked = false; // it has, and got none
  #ended = false;

  constructor(config: Config) {
    this.#c = config;
  }

  async token(signal: AbortSignal | undefined): Promise<Token> {
    signal?.throwIfAborted();
    const now = this.#c.pace.clock.now();
    const good = this.#good(now);
    if (good && (now < this.#renewAt || now < this.#notBefore || (this.#asking && this.#roomInBand(now)))) {
      return good;
    }
    if (!good && this.#failed && now >= this.#failed.since && now < this.#failed.until) {
      throw this.#failed.error;
    }
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    try {
      await waitFor(this.#renewing, signal);
    } catch (e) {
      const still = this.#good(this.#c.pace.clock.now());
      if (still && !signal?.aborted) {
        return still;
      }
      throw e;
    }
    if (!this.#token) {
      throw failure(this.#c.doing, this.#c.contract, 'logged_out'); // in the same moment
    }
    return this.#token;
  }

  refused(token: Token): void {
    const now = this.#c.pace.clock.now();
    if (token === this.#token && !this.#refused && Math.abs(now - this.#replaced) >= refusals) {
      this.#refused = true;
      this.#notBefore = 0;
    }
  }

  /** A token that is due for renewal and still good for a while, for a call that can ask for the next one in band. Whoever
   * gets it says afterwards what came of it: see {@link took}. */
  ask(): Token | undefined {
    const now = this.#c.pace.clock.now();
    const good = this.#good(now);
    if (!good || now < this.#renewAt || this.#asking || this.#asked || this.#renewing || !this.#roomInBand(now)) {
      return undefined;
    }
    this.#asking = true;
    return good;
  }

  /** The end of an ask: next is the token that came with the answer, if one did. */
  async took(next: Held | undefined): Promise<void> {
    this.#asking = false;
    this.#asked = true;
    if (next) {
      await this.take(next);
    }
  }

  /** Takes over a token that came in band, unless the one there is lives longer. */
  async take(next: Held): Promise<void> {
    if (this.#ended || (this.#held && !this.#refused && this.#held.expires >= next.expires)) {
      return;
    }
    this.#adopt(next);
    await this.#c.store.lock(async () => {
      const { held } = await this.#load();
      if (!held || held.expires < next.expires) {
        await this.#save(next);
      }
    });
  }

  /** Does something that may fail without harm: then it is logged, and there is no result. */
  async gotOver<T>(act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act();
    } catch (e) {
      this.#c.log(e);
      return undefined;
    }
  }

  /** Ends it: act does what there is to do with what is kept, and then nothing is. It hands out nothing any more. */
  end(act: (held: Held | undefined, save: Save) => Promise<void>): Promise<void> {
    return this.#c.store.lock(async () => {
      const { held } = await this.#load();
      await act(held ?? this.#held, (h) => this.#save(h));
      this.#ended = true;
      this.#held = this.#token = undefined;
      await this.#c.store.save('');
    });
  }

  /** The token there is, if it can be used. */
  #good(now: number): Token | undefined {
    return this.#held && !this.#refused && now < this.#held.expires ? this.#token : undefined;
  }

  /** Whether there is time to ask in band, and to make an exchange if that fails. */
  #roomInBand(now: number): boolean {
    return this.#held !== undefined && now < this.#held.expires - before(this.#held) / 2;
  }

  async #renew(): Promise<void> {
    try {
      await this.#c.store.lock(async () => {
        if (this.#ended) {
          throw failure(this.#c.doing, this.#c.contract, 'logged_out');
        }
        const { held, others } = await this.#load();
        if (held && others && this.#c.pace.clock.now() < held.expires - before(held)) {
          this.#adopt(held); // somebody else has renewed it
          return;
        }
        const next = await this.#c.obtain(held, (h) => this.#save(h));
        this.#adopt(next);
        await this.#save(next);
      });
    } catch (e) {
      const now = this.#c.pace.clock.now();
      const again = e instanceof GatehouseError ? e.retryAfter : undefined;
      this.#notBefore = now + (again === undefined ? 5000 * (1 + this.#c.pace.random()) : again * 1000);
      if (e instanceof GatehouseError && (again !== undefined || (e.status >= 400 && e.status < 500))) {
        this.#failed = { error: e, since: now, until: now + 1000 * Math.max(1, again ?? 0) };
      }
      if (this.#good(now)) {
        this.#c.log(e); // nobody else hears of it
      }
      throw e;
    }
  }

  #adopt(held: Held): void {
    if (this.#refused) {
      this.#replaced = this.#c.pace.clock.now();
    }
    this.#held = held;
    this.#token = new Token(held.token, held.type, new Date(held.expires), held.scope);
    this.#renewAt = held.expires - before(held) * (1 + 0.2 * this.#c.pace.random());
    this.#refused = this.#asked = false;
    this.#failed = undefined;
    this.#notBefore = 0;
  }

  /** What is kept, if it is of this credential, and whether somebody else put it there since. */
  async #load(): Promise<{ held: Held | undefined; others: boolean }> {
    this.#identity = await this.#identify();
    const text = await this.#c.store.load();
    const held = text ? parse(text, this.#identity) : undefined;
    return { held, others: held?.token !== this.#held?.token };
  }

  /** Whose tokens are kept: a digest, for what names a credential may be its secret (an API key is). A page that came over
   * http has no digests; there no source takes another's tokens for its own. */
  async #identify(): Promise<string> {
    if (!crypto.subtle) {
      return this.#instance;
    }
    const whose = new TextEncoder().encode(JSON.stringify(await this.#c.whose()));
    return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', whose)));
  }

  async #save(held: Held): Promise<void> {
    await this.#c.store.save(JSON.stringify({ version: 1, identity: this.#identity, ...held }));
  }
}

/** How long before its end a token is renewed. */
function before(held: Held): number {
  return Math.min(early, held.life / 10);
}

/** Reads what was saved. What is not understood, or is another's, is as good as nothing. */
function parse(text: string, identity: string): Held | undefined {
  let h: unknown;
  try {
    h = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(h) || h['version'] !== 1 || h['identity'] !== identity) {
    return undefined;
  }
  const { token, type, expires, life, scope, refresh, refreshExpires, spending } = h;
  if (!isToken(token) || typeof type !== 'string' || typeof expires !== 'number' || typeof life !== 'number') {
    return undefined;
  }
  const held: Held = { token, type, expires, life };
  if (typeof scope === 'string') {
    held.scope = scope;
  }
  if (typeof refresh === 'string' && typeof refreshExpires === 'number') {
    Object.assign(held, { refresh, refreshExpires });
    if (isObject(spending) && typeof spending['key'] === 'string' && typeof spending['since'] === 'number') {
      held.spending = { key: spending['key'], since: spending['since'] };
    }
  }
  return held;
}

/** 128 random bits. */
export function draw(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** What is kept of a token that an answer brought, which expires at exp by the server's clock, in Unix milliseconds. The local
 * clock counts from now on what life it has left: how wrong it is does not matter. */
export function held(answer: Pick<Answer, 'headers' | 'at'>, token: string, type: string, exp: number): Held {
  // A page on another origin is not shown Date; a token tells when it was made.
  const iat = claims(token)['iat'];
  const server = dateOf(answer.headers) ?? (typeof iat === 'number' ? iat * 1000 : answer.at);
  const life = exp - server;
  return { token, type, life, expires: answer.at + life };
}
