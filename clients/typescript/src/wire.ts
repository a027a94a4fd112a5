import { type Doing, failure, type GatehouseError, refusal } from './errors.js';
import { type Fields, parse } from './json.js';
import type { WireOptions } from './source.js';

/** The time. A test has one of its own, and nothing here then waits for anything else. */
export interface Clock {
  /** Unix milliseconds. */
  now(): number;
  /** Resolves after so many milliseconds, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** How patient a client is, and what it stands on. All of it has a default. */
export interface Patience {
  /** How often a request is sent at most, 4 if left out. */
  attempts?: number;
  /** The longest Retry-After that is waited for, in milliseconds, 60,000 if left out. A longer one fails at once and says so. */
  maxWait?: number;
  /** Sends requests in place of the global fetch. */
  fetch?: typeof fetch;
  /** The time, the machine's if left out. */
  clock?: Clock;
  /** Draws jitter, Math.random if left out. No secret comes from it. */
  random?: () => number;
}

const machineClock: Clock = {
  now: () => Date.now(),
  sleep(ms, signal) {
    let timer: ReturnType<typeof setTimeout>;
    const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    return waitFor(over, signal).finally(() => clearTimeout(timer));
  },
};

/** Patience with its defaults filled in, and what follows from it. */
export class Pace {
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly random: () => number;
  readonly #attempts: number;
  readonly #maxWait: number;

  constructor(p: Patience) {
    this.#attempts = p.attempts ?? 4;
    this.#maxWait = p.maxWait ?? 60_000;
    this.clock = p.clock ?? machineClock;
    this.random = p.random ?? Math.random;
    // Looked up at each call, as whoever calls fetch does it; and a browser's fetch cannot be a method of something else.
    const send = p.fetch;
    this.fetch = (input, init) => (send ?? fetch)(input, init);
  }

  /**
   * How long to wait before the attempt after this one, undefined for not at all. What the server asks for is never cut
   * short; without that each break is about twice as long as the one before it. The jitter keeps many workers apart.
   */
  wait(attempt: number, after: number | undefined): number | undefined {
    const asked = (after ?? 0) * 1000;
    if (attempt >= this.#attempts || asked > this.#maxWait) {
      return undefined;
    }
    return after === undefined
      ? Math.min(200 * 2 ** (attempt - 1), 5000) * (0.5 + this.random() / 2)
      : asked + this.random() * Math.max(500, asked / 5);
  }
}

/** What an answer says beside its body. */
export interface Meta {
  status: number;
  headers: Headers;
  at: number; // when it was there, by the local clock
}

/** An answer, read to its end. */
export interface Answer extends Meta {
  body: Fields | undefined;
}

/** A request to an address of ours. */
export interface Ask<T> extends Doing {
  headers: Record<string, string>;
  body?: string;
  secrets: string[]; // what is in it that no error may repeat
  read: (answer: Answer) => T | undefined; // what is looked for in a good answer
}

/** Speaks to the addresses of one server. */
export class Wire extends Pace {
  readonly base: string; // without a slash at its end
  readonly #timeout: number;

  constructor(options: WireOptions) {
    super(options);
    this.base = baseOf(options.baseURL, options.plainHTTP);
    this.#timeout = options.timeout ?? 10_000;
  }

  /** Sends an ask once. What is read in a 2xx is returned, everything else thrown as a {@link GatehouseError}. */
  async once<T>(ask: Ask<T>, timeout = this.#timeout): Promise<T> {
    const [method, path] = ask.doing.split(' ') as [string, string];
    const end = new AbortController();
    this.clock.sleep(timeout, end.signal).then(
      () => end.abort(new DOMException('no answer in time', 'TimeoutError')),
      () => {},
    );
    let response: Response;
    let answer: Answer;
    try {
      response = await this.fetch(this.base + path, {
        method,
        headers: ask.headers,
        body: ask.body ?? null,
        redirect: 'manual', // a credential goes to the address it was meant for, and nowhere else
        cache: 'no-store',
        credentials: 'omit',
        signal: end.signal,
      });
      answer = { status: response.status, headers: response.headers, body: parse(await response.text()), at: this.clock.now() };
    } catch (cause) {
      throw failure(ask, 'no_answer', undefined, { cause });
    } finally {
      end.abort();
    }
    if (!response.ok) {
      throw refusal(ask, answer, ask.secrets);
    }
    const found = ask.read(answer);
    if (found === undefined) {
      throw failure(ask, 'bad_answer', answer);
    }
    return found;
  }

  /** Sends an ask that may be sent twice, until it is answered for good or patience ends. */
  async persist<T>(ask: Ask<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(ask);
      } catch (e) {
        const { reason, status, retryAfter } = e as GatehouseError;
        const wait = reason === 'no_answer' || passing.includes(status) ? this.wait(attempt, retryAfter) : undefined;
        if (wait === undefined) {
          throw e;
        }
        await this.clock.sleep(wait);
      }
    }
  }
}

/** The statuses after which the same request may go well later. */
export const passing: readonly number[] = [429, 502, 503, 504];

/** The origin of a URL that secrets may be sent to. */
export function originOf(url: string | URL, plainHTTP: boolean | undefined): string {
  const u = urlOf(url);
  const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(u.hostname);
  if (u.protocol !== 'https:' && !(u.protocol === 'http:' && (loopback || plainHTTP))) {
    throw new TypeError(`${u.protocol}//${u.host}: secrets go over https; set plainHTTP for a network that nobody else can read`);
  }
  return u.origin;
}

/** Not new URL alone: its error repeats what it was given, and that may have a password in it. */
function urlOf(url: string | URL): URL {
  if (!URL.canParse(url)) {
    throw new TypeError('an address is not a URL');
  }
  return new URL(url);
}

function baseOf(base: string | URL, plainHTTP: boolean | undefined): string {
  const u = urlOf(base);
  if (u.username || u.password || u.search || u.hash) {
    throw new TypeError('baseURL is an address alone: no user, no password, no query, no fragment');
  }
  return originOf(u, plainHTTP) + u.pathname.replace(/\/+$/, '');
}

/** Waits for what others may wait for too, and stops waiting when the signal says so. */
export function waitFor<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) {
    return shared;
  }
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) {
      stop();
    }
    signal.addEventListener('abort', stop, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
