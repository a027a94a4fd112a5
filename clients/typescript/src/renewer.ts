import { dateOf, type Doing, failure, GatehouseError } from './errors.js';
import { has, parse } from './json.js';
import type { TokenStore } from './store.js';
import { claims, isToken, Token } from './token.js';
import { type Meta, type Pace, waitFor } from './wire.js';

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
  doing: Doing;
  whose: () => Promise<string[]>; // which credential of which server the tokens are for
  obtain: Obtain;
  store: TokenStore;
  pace: Pace;
  log: (error: unknown) => void;
}

/**
 * Keeps one token and renews it in time, once for all who ask.
 *
 * The invariant: what it hands out was neither refused nor over, as far as it can know; a renewal that fails takes nothing
 * away while the token before it is good.
 */
export interface Renewer {
  token(signal: AbortSignal | undefined): Promise<Token>;
  refused(token: Token): void;
  /** A token that is due for renewal and still good for a while, for a call that can ask for the next one in band. Whoever
   * gets it says afterwards what came of it: see took. */
  ask(): Token | undefined;
  /** The end of a call that may have brought the next token, which read looks for. asked: ask gave it its token. Nothing that goes
   * wrong here costs the caller his answer: it is logged. */
  took(asked: boolean, read: () => Promise<Held | undefined>): Promise<void>;
  /** Ends it: act does what there is to do with what is kept, and then nothing is. It hands out nothing any more. */
  end(act: (held: Held | undefined, save: Save) => Promise<void>): Promise<void>;
}

/** So long before its end a token of 50 minutes or more is renewed; a shorter one when 90 % of its life are over. */
const early = 5 * 60_000;

/** After a token was replaced because it was refused, the next refusal within this time replaces nothing: where the API
 * itself says 401 to everything, new tokens do not help. */
const refusals = 10_000;

export function renewer({ doing, whose, obtain, store, pace, log }: Config): Renewer {
  const instance = draw();
  let identity = ''; // of whoever's tokens were loaded last

  let held: Held | undefined;
  let token: Token | undefined; // of held
  let refused = false; // the token was
  let replaced = -Infinity; // when a refused one was replaced last
  let renewAt = 0;
  let renewing: Promise<void> | undefined;
  let notBefore = 0; // when to renew, after that has failed and the token goes on
  let failed: { error: GatehouseError; since: number; until: number } | undefined; // what stands for a while where there is no token
  let asking = false; // a call asks for a new one in band
  let asked = false; // it has, and got none
  let ended = false;

  const now = () => pace.clock.now();

  /** The token there is, if it can be used. */
  const good = () => (held && !refused && now() < held.expires ? token : undefined);

  /** Whether there is time to ask in band, and to make an exchange if that fails. */
  const roomInBand = () => held && now() < held.expires - before(held) / 2;

  async function renew(): Promise<void> {
    try {
      await store.lock(obtainNext);
    } catch (e) {
      putOff(e);
      throw e;
    }
  }

  async function obtainNext(): Promise<void> {
    if (ended) {
      throw failure(doing, 'logged_out');
    }
    const kept = await load();
    if (kept && kept.token !== held?.token && now() < kept.expires - before(kept)) {
      adopt(kept); // somebody else has renewed it
      return;
    }
    const next = await obtain(kept, save);
    adopt(next);
    await save(next);
  }

  /** Says what follows from a renewal that failed. */
  function putOff(e: unknown): void {
    const at = now();
    const { retryAfter, status = 0 } = e instanceof GatehouseError ? e : {};
    notBefore = at + (retryAfter === undefined ? 5000 * (1 + pace.random()) : retryAfter * 1000);
    if (retryAfter !== undefined || (status >= 400 && status < 500)) {
      failed = { error: e as GatehouseError, since: at, until: at + 1000 * Math.max(1, retryAfter ?? 0) };
    }
    if (good()) {
      log(e); // nobody else hears of it
    }
  }

  function adopt(next: Held): void {
    if (refused) {
      replaced = now();
    }
    held = next;
    token = new Token(next.token, next.type, new Date(next.expires), next.scope);
    renewAt = next.expires - before(next) * (1 + 0.2 * pace.random());
    refused = asked = false;
    failed = undefined;
    notBefore = 0;
  }

  /** What is kept, if it is of this credential. */
  async function load(): Promise<Held | undefined> {
    identity = await identify();
    return stored((await store.load()) ?? '', identity);
  }

  /** Whose tokens are kept: a digest, for what names a credential may be its secret (an API key is). A page that came over
   * http has no digests; there no source takes another's tokens for its own. */
  async function identify(): Promise<string> {
    return crypto.subtle ? hex(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(await whose())))) : instance;
  }

  const save: Save = (what) => store.save(JSON.stringify({ version: 1, identity, ...what }));

  return {
    async token(signal) {
      signal?.throwIfAborted();
      const at = now();
      const one = good();
      if (one && (at < renewAt || at < notBefore || (asking && roomInBand()))) {
        return one;
      }
      if (!one && failed && at >= failed.since && at < failed.until) {
        throw failed.error;
      }
      renewing ??= renew().finally(() => (renewing = undefined));
      try {
        await waitFor(renewing, signal);
      } catch (e) {
        const still = good();
        if (still && !signal?.aborted) {
          return still;
        }
        throw e;
      }
      if (!token) {
        throw failure(doing, 'logged_out'); // in the same moment
      }
      return token;
    },

    refused(which) {
      if (which === token && !refused && Math.abs(now() - replaced) >= refusals) {
        refused = true;
        notBefore = 0;
      }
    },

    ask() {
      const one = good();
      if (!one || now() < renewAt || asking || asked || renewing || !roomInBand()) {
        return undefined;
      }
      asking = true;
      return one;
    },

    async took(byUs, read) {
      try {
        const next = await read().finally(() => {
          if (byUs) {
            asking = false;
            asked = true;
          }
        });
        if (!next || ended || (held && !refused && held.expires >= next.expires)) {
          return; // the one there is lives longer
        }
        adopt(next);
        await store.lock(async () => {
          const kept = await load();
          if (!kept || kept.expires < next.expires) {
            await save(next);
          }
        });
      } catch (e) {
        log(e);
      }
    },

    end(act) {
      return store.lock(async () => {
        const kept = await load();
        await act(kept ?? held, save);
        ended = true;
        held = token = undefined;
        await store.save('');
      });
    },
  };
}

/** How long before its end a token is renewed. */
function before(held: Held): number {
  return Math.min(early, held.life / 10);
}

/** Reads what was saved. What is not understood, or is another's, is as good as nothing. */
function stored(text: string, identity: string): Held | undefined {
  const { version, identity: whose, ...kept } = parse(text) ?? {};
  // Who else could write the identity could write all the rest.
  return version === 1 && whose === identity && isToken(kept['token']) && has(kept, 'number', 'expires', 'life') ? (kept as unknown as Held) : undefined;
}

/** 128 random bits. */
export function draw(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)).buffer);
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** What is kept of a token that an answer brought, which expires at exp by the server's clock, in Unix milliseconds. The local
 * clock counts from now on what life it has left: how wrong it is does not matter. */
export function held({ headers, at }: Meta, token: string, type: string, exp: number): Held {
  // A page on another origin is not shown Date; a token tells when it was made.
  const iat = claims(token)?.['iat'];
  const life = exp - (dateOf(headers) ?? (typeof iat === 'number' ? iat * 1000 : at));
  return { token, type, life, expires: at + life };
}
