import { type Answered, ApiKeySource } from './apikey.js';
import { retryAfter, tokenReason } from './errors.js';
import { isJSON, parse } from './json.js';
import type { Token, TokenSource } from './token.js';
import { originOf, Pace, passing, type Patience } from './wire.js';

export interface FetchOptions extends Patience {
  /** Where the token may go, such as https://api.example.com; the source's own origin if left out. */
  origins?: readonly string[];
  /** Take origins that are http and not on this machine: see {@link SourceOptions.plainHTTP}. */
  plainHTTP?: boolean;
  /**
   * With an {@link ApiKeySource}, ask for the next token within a call, by adding `"refresh": true` to its body, where that is a
   * JSON object without such a member and the token is near its end. The API gets the body as it was sent: only for one that
   * lets a member pass that it does not know.
   */
  refreshInBand?: boolean;
}

/**
 * Makes a fetch that puts `Authorization: Bearer` on requests to the origins it is meant for. Requests to others, and those that
 * have an Authorization of their own, pass untouched. An answer is an answer, whatever its status: see
 * {@link GatehouseError.from}. If there is no token to be had, a {@link GatehouseError} is thrown.
 *
 * It tries again, a few times: after 429 and 503, as Retry-After says; after those without it, after 502, 504 or no answer,
 * what may be done twice (GET, HEAD, OPTIONS, PUT, DELETE, and whatever has an Idempotency-Key); once after a 401 about the token,
 * with a new one. It never does after any other answer, nor with a body that is a stream.
 */
export function createFetch(source: TokenSource, options: FetchOptions = {}): typeof fetch {
  const pace = new Pace(options);
  const named = options.origins ?? (source.origin === undefined ? [] : [source.origin]);
  if (named.length === 0) {
    throw new TypeError('name the origins that the token is for');
  }
  const origins = new Set(named.map((o) => originOf(o, options.plainHTTP ?? o === source.origin)));
  return async (input, init) => {
    const request = new Request(input, init);
    if (!origins.has(new URL(request.url).origin) || request.headers.has('Authorization')) {
      return pace.fetch(request);
    }
    return call(source, pace, request, isStream(init?.body), options.refreshInBand);
  };
}

/** One call, with its repetitions. once: its body cannot be sent twice. */
async function call(source: TokenSource, pace: Pace, request: Request, once: boolean, mayAsk: boolean | undefined): Promise<Response> {
  const next = () => source.token({ signal: request.signal });
  if (!(source instanceof ApiKeySource) || once || !isJSON(request.headers)) {
    return (await persist(request, await next())).response;
  }
  // In band. A call may ask by itself, as the published SDK's do.
  const text = await request.clone().text();
  const body = parse(text);
  const could = body && !Object.hasOwn(body, 'refresh');
  const ask = could && mayAsk ? source.ask() : undefined;
  if (!ask && body?.['refresh'] !== true) {
    return (await persist(request, await next())).response;
  }
  let answered: Answered | undefined;
  try {
    const asking = ask ? new Request(request, { body: text.replace(/\}\s*$/, `${Object.keys(body ?? {}).length ? ',' : ''}"refresh":true}`) }) : request;
    answered = await persist(asking, ask ?? (await next()));
    return answered.response;
  } finally {
    await source.answered(ask !== undefined, answered);
  }

  /** Sends the request until it is answered for good, with the token, or with one that takes its place. */
  async function persist(request: Request, token: Token): Promise<Answered> {
    for (let attempt = 1, renewed = false; ; ) {
      const sent = once ? request : request.clone();
      sent.headers.set('Authorization', `Bearer ${token.reveal()}`);
      let response: Response | undefined;
      let failed: unknown;
      try {
        response = await pace.fetch(sent);
      } catch (e) {
        failed = e;
      }
      if (response?.status === 401 && !renewed && source.refused && !/_(missing|wrong_type)$/.test(tokenReason(response.headers))) {
        // Not where the token is of the wrong type, nor after an API's own 401, which says nothing of a token.
        source.refused(token);
        const other = once ? token : await next();
        if (other === token) {
          return { response, token };
        }
        await response.body?.cancel();
        token = other;
        renewed = true;
        continue;
      }
      const wait = again(response) ? pace.wait(attempt, response && retryAfter(response.headers, pace.clock.now())) : undefined;
      if (wait === undefined || request.signal.aborted) {
        if (response) {
          return { response, token };
        }
        throw failed;
      }
      await response?.body?.cancel();
      await pace.clock.sleep(wait, request.signal);
      attempt++;
    }
  }

  /** Whether the same request may be sent again after this answer, or after none. */
  function again(response: Response | undefined): boolean {
    if (once || (response && !passing.includes(response.status))) {
      return false;
    }
    const { method, headers } = request;
    return (
      /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) || headers.has('Idempotency-Key') ||
      // whoever names a time has not done it
      ([429, 503].includes(response?.status ?? 0) && response?.headers.has('Retry-After') === true)
    );
  }
}

/** Whether a body can be read once only: a stream, or what Node takes for one. */
function isStream(body: unknown): boolean {
  return typeof body === 'object' && body !== null && ('getReader' in body || Symbol.asyncIterator in body);
}
