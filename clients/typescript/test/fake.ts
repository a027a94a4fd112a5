import assert from 'node:assert/strict';

import type { Clock } from '@gatehouse/client';

/** A clock that stands still until the test moves it. */
export class FakeClock implements Clock {
  #now = Date.UTC(2026, 10, 22, 9);
  #sleepers: { at: number; from: number; wake: () => void }[] = [];
  /** How long those slept who slept to the end. */
  readonly slept: number[] = [];

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        return reject(signal.reason);
      }
      const sleeper = { at: this.#now + ms, from: this.#now, wake: resolve };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        reject(signal.reason);
      });
    });
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const s of this.#sleepers.filter((s) => s.at <= this.#now)) {
      this.#wake(s);
    }
  }

  #wake(s: { at: number; from: number; wake: () => void }): void {
    this.#sleepers = this.#sleepers.filter((other) => other !== s);
    this.slept.push(s.at - s.from);
    s.wake();
  }

  /** Lets time pass, whenever nothing else goes on, until the promise is settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    promise.catch(() => {}).finally(() => (settled = true));
    while (!settled) {
      await idle();
      const next = this.#sleepers.slice().sort((a, b) => a.at - b.at)[0];
      if (!settled && next) {
        this.#now = Math.max(this.#now, next.at);
        this.#wake(next);
      }
    }
    return promise;
  }
}

/** Returns when nothing goes on that needs no time: digests and files are done elsewhere and take a moment. */
export async function idle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A request as it was sent. */
export interface Sent {
  method: string;
  path: string;
  headers: Headers;
  body: string;
  at: number;
}

/** A server that answers what the test says, in turn; the last answer is repeated. */
export class FakeServer {
  readonly sent: Sent[] = [];
  readonly base = 'https://auth.example.com';
  readonly clock: FakeClock;
  /** How far the server's clock is ahead. */
  ahead = 0;
  #answers: Answer[] = [];

  constructor(clock = new FakeClock()) {
    this.clock = clock;
  }

  /** What to answer from now on. */
  answers(...answers: Answer[]): void {
    this.#answers = answers;
  }

  now(): number {
    return this.clock.now() + this.ahead;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const sent = {
      method: request.method,
      path: request.url.replace(this.base, ''),
      headers: request.headers,
      body: await request.text(),
      at: this.clock.now(),
    };
    this.sent.push(sent);
    const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0];
    assert(answer, 'the test said no answer');
    const got = typeof answer === 'function' ? answer(sent) : answer;
    if (got === 'silence') {
      return new Promise((_, reject) => {
        const end = () => reject(request.signal.reason);
        request.signal.aborted ? end() : request.signal.addEventListener('abort', end);
      });
    }
    if (got === 'lost') {
      throw new TypeError('fetch failed');
    }
    const headers = new Headers(got.headers);
    if (headers.get('Date') === 'none') {
      headers.delete('Date');
    } else {
      headers.set('Date', new Date(this.now()).toUTCString());
    }
    headers.set('X-Request-Id', `reqid_${String(this.sent.length).padStart(11, '0')}`);
    const body = got.body === undefined ? null : typeof got.body === 'string' ? got.body : JSON.stringify(got.body);
    if (body !== null && !headers.has('Content-Type')) {
      headers.set('Content-Type', 'application/json; charset=utf-8');
    }
    return new Response(body, { status: got.status, headers });
  };

  /** The common options of a source. */
  options() {
    return { baseURL: this.base, fetch: this.fetch, clock: this.clock, random: () => 0 };
  }

  #drawn = 0;

  /** A token as the server makes them, another each time. */
  mint(seconds: number, claims: Record<string, unknown> = {}): { token: string; exp: number } {
    const iat = Math.floor(this.now() / 1000);
    const exp = iat + seconds;
    const part = (v: unknown) => Buffer.from(JSON.stringify(v)).toString('base64url');
    const all = { sub: '100001', sid: 's1', iat, exp, jti: `j${++this.#drawn}`, ...claims };
    return { token: `${part({ alg: 'EdDSA', typ: 'JWT' })}.${part(all)}.c2lnbmF0dXJl`, exp: exp * 1000 };
  }

  /** The answer to an API key. */
  readonly key = (): Reply => ({
    status: 201,
    body: { statusCode: 200, message: 'OK', metadata: {}, data: { ...this.mint(86_400), type: 'ACCESS_TOKEN' } },
  });

  /** The answer to user ID and password. */
  readonly order = (): Reply => ({ status: 200, body: { ...this.mint(600), type: 'ORDER_API' } });

  /** The answer to a login or a refresh. */
  readonly pair = (): Reply => {
    const [access, refresh] = [this.mint(3600), this.mint(7 * 86_400)];
    const at = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');
    return {
      status: 200,
      body: {
        success: true,
        data: {
          access_token: access.token,
          refresh_token: refresh.token,
          access_expires_at: at(access.exp),
          refresh_expires_at: at(refresh.exp),
          client_id: 100001,
        },
      },
    };
  };

  /** The answer of POST /oauth/token. */
  readonly oauth = (): Reply => ({
    status: 200,
    body: { access_token: this.mint(3600).token, token_type: 'Bearer', expires_in: 3600, scope: 'products:read' },
  });
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

export type Answer = Reply | 'lost' | 'silence' | ((sent: Sent) => Reply | 'lost' | 'silence');

/** Refusals as the contracts have them. */
export const liquid = (status: number, statusCode: number, message: string, headers: Record<string, string> = {}): Reply => ({
  status,
  headers,
  body: { statusCode, message, metadata: { languages: ['en'], requestId: 'reqid_123abc45def' }, errors: [] },
});

export const b2b = (status: number, name: string, code: string, message: string, headers: Record<string, string> = {}): Reply => ({
  status,
  headers,
  body: { error: { name, code, message } },
});

export const oauth = (status: number, error: string, error_description: string, headers: Record<string, string> = {}): Reply => ({
  status,
  headers,
  body: { error, error_description },
});

export const ok: Reply = { status: 200, body: { products: [] } };
