import { failure, isObject, refusal, type Contract, type GatehouseError } from './errors.js';

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

export const machineClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const stop = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', stop);
        resolve();
      }, ms);
      signal?.addEventListener('abort', stop, { once: true });
    }),
};

/** Patience with its defaults filled in, and what follows from it. */
export class Pace {
  readonly attempts: number;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly random: () => number;
  readonly #maxWait: number;

  constructor(p: Patience) {
    this.attempts = p.attempts ?? 4;
    this.clock = p.clock ?? machineClock;
    // Looked up at each call, as whoever calls fetch does it; and a browser's fetch cannot be a method of something else.
    const send = p.fetch;
    this.fetch = send ? (input, init) => send(input, init) : (input, init) => globalThis.fetch(input, init);
    this.random = p.random ?? Math.random;
    this.#maxWait = p.maxWait ?? 60_000;
  }

  /**
   * How long to wait before the attempt after this one, undefined for not at all. What the server asks for is never cut
   * short; without that each break is about twice as long as the one before it. The jitter keeps many workers apart.
   */
  wait(attempt: number, after: number | undefined): number | undefined {
    if (attempt >= this.attempts || (after !== undefined && after * 1000 > this.#maxWait)) {
      return undefined;
    }
    if (after === undefined) {
      return Math.min(200 * 2 ** (attempt - 1), 5000) * (0.5 + this.random() / 2);
    }
    return after * 1000 + this.random() * Math.max(500, after * 200);
  }
}

/** A request to an address of ours. */
export interface Ask {
  contract: Contract;
  method: 'GET' | 'POST';
  path: string;
  headers: Record<string, string>;
  body?: string;
  secrets: string[]; // what is in it that no error may repeat
}

/** An answer, read to its end. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  at: number; // when it was there, by the local clock
}

/** Speaks to the addresses of one server. */
export class Wire {
  readonly pace: Pace;
  readonly base: string; // without a slash at its end
  readonly #timeout: number;

  constructor(base: string | URL, plainHTTP: boolean, timeout: number, pace: Pace) {
    this.base = baseOf(base, plainHTTP);
    this.#timeout = timeout;
    this.pace = pace;
  }

  /** What an ask is called in errors. */
  doing(ask: Ask): string {
    return `${ask.method} ${ask.path}`;
  }

  /** Sends an ask once. A 2xx is returned, everything else thrown as a {@link GatehouseError}. */
  async once(ask: Ask, timeout = this.#timeout): Promise<Answer> {
    const { clock, fetch } = this.pace;
    const late = new AbortController();
    const done = new AbortController();
    clock.sleep(timeout, done.signal).then(
      () => late.abort(new DOMException('no answer in time', 'TimeoutError')),
      () => {},
    );
    let answer: Answer;
    try {
      const response = await fetch(this.base + ask.path, {
        method: ask.method,
        headers: ask.headers,
        ...(ask.body === undefined ? {} : { body: ask.body }),
        redirect: 'manual', // a credential goes to the address it was meant for, and nowhere else
        cache: 'no-store',
        credentials: 'omit',
        signal: late.signal,
      });
      answer = { status: response.status, headers: response.headers, text: await response.text(), at: clock.now() };
    } catch (cause) {
      throw failure(this.doing(ask), ask.contract, 'no_answer', undefined, cause);
    } finally {
      done.abort();
    }
    if (answer.status < 200 || answer.status > 299) {
      throw refusal(this.doing(ask), ask.contract, answer, ask.secrets);
    }
    return answer;
  }

  /** Sends an ask that may be sent twice, until it is answered for good or patience ends. */
  async persist(ask: Ask): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(ask);
      } catch (e) {
        const wait = passing(e as GatehouseError) ? this.pace.wait(attempt, (e as GatehouseError).retryAfter) : undefined;
        if (wait === undefined) {
          throw e;
        }
        await this.pace.clock.sleep(wait);
      }
    }
  }
}

/** Whether the same request may go well later. */
function passing(e: GatehouseError): boolean {
  return e.reason === 'no_answer' || e.status === 429 || (e.status >= 502 && e.status <= 504);
}

/** The members of an answer's JSON object, none if it is no such thing. */
export function members(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    return isObject(body) ? body : {};
  } catch {
    return {};
  }
}

/** Whether a body is JSON that nothing was done to. */
export function isJSON(headers: Headers): boolean {
  const media = (headers.get('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  return /^application\/(json|[\w.-]+\+json)$/.test(media) && !headers.get('Content-Encoding');
}

/** The origin of a URL that secrets may be sent to. */
export function originOf(url: string | URL, plainHTTP: boolean): string {
  const u = parse(url);
  const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(u.hostname);
  if (u.protocol !== 'https:' && !(u.protocol === 'http:' && (loopback || plainHTTP))) {
    throw new TypeError(`${u.protocol}//${u.host}: secrets go over https; set plainHTTP for a network that nobody else can read`);
  }
  return u.origin;
}

/** Not new URL alone: its error repeats what it was given, and that may have a password in it. */
function parse(url: string | URL): URL {
  if (!URL.canParse(url)) {
    throw new TypeError('an address is not a URL');
  }
  return new URL(url);
}

function baseOf(base: string | URL, plainHTTP: boolean): string {
  const u = parse(base);
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
