import { ApiKeySource } from './apikey.js';
import { isObject, retryAfter, tokenReason } from './errors.js';
import type { Token, TokenSource } from './token.js';
import { isJSON, originOf, Pace, type Patience } from './wire.js';

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
 * It tries again, a few times: after 429 and 503, as Retry-After says; after 502, 504 or no answer, what may be done twice
 * (GET, HEAD, OPTIONS, PUT, DELETE, and whatever has an Idempotency-Key); once after 401, with a new token. It never does after any other
 * answer, nor with a body that is a stream.
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
    return new Call(source, pace, request, isStream(init?.body), options.refreshInBand ?? false).answer();
  };
}

/** One call, with its repetitions. */
class Call {
  readonly #source: TokenSource;
  readonly #pace: Pace;
  readonly #request: Request;
  readonly #once: boolean; // its body cannot be sent twice
  readonly #mayAsk: boolean;

  constructor(source: TokenSource, pace: Pace, request: Request, once: boolean, mayAsk: boolean) {
    this.#source = source;
    this.#pace = pace;
    this.#request = request;
    this.#once = once;
    this.#mayAsk = mayAsk;
  }

  async answer(): Promise<Response> {
    let request = this.#request;
    if (!(this.#source instanceof ApiKeySource) || this.#once || !isJSON(request.headers)) {
      return this.#persist(request, await this.#token());
    }
    // In band. A call may ask by itself, as the published SDK's do.
    const body = await request.clone().text();
    const asks = asking(body);
    const ask = this.#mayAsk && asks === 'could' ? this.#source.ask() : undefined;
    if (!ask && asks !== 'does') {
      return this.#persist(request, await this.#token());
    }
    if (ask) {
      request = new Request(request, { body: body.replace(/\}\s*$/, `${/^\s*\{\s*\}\s*$/.test(body) ? '' : ','}"refresh":true}`) });
    }
    let used = ask ?? (await this.#token());
    let response: Response | undefined;
    try {
      response = await this.#persist(request, used, (t) => (used = t));
      return response;
    } finally {
      await this.#source.answered(used, response, ask !== undefined);
    }
  }

  /** Sends the request until it is answered for good. used is told of a token that takes the place of the first. */
  async #persist(request: Request, token: Token, used?: (t: Token) => void): Promise<Response> {
    for (let attempt = 1, renewed = false; ; ) {
      const sent = this.#once ? request : request.clone();
      sent.headers.set('Authorization', `Bearer ${token.reveal()}`);
      let response: Response | undefined;
      let failed: unknown;
      try {
        response = await this.#pace.fetch(sent);
      } catch (e) {
        failed = e;
      }
      if (response?.status === 401 && !renewed && this.#source.refused && tokenReason(response.headers.get('WWW-Authenticate')) !== 'token_wrong_type') {
        this.#source.refused(token);
        const next = this.#once ? token : await this.#token();
        if (next === token) {
          return response;
        }
        await response.body?.cancel();
        token = next;
        used?.(token);
        renewed = true;
        continue;
      }
      const wait = this.#again(response) ? this.#pace.wait(attempt, response && retryAfter(response.headers, this.#pace.clock.now())) : undefined;
      if (wait === undefined || request.signal.aborted) {
        if (response) {
          return response;
        }
        throw failed;
      }
      await response?.body?.cancel();
      await this.#pace.clock.sleep(wait, request.signal);
      attempt++;
    }
  }

  /** Whether the same request may be sent again after this answer, or after none. */
  #again(response: Response | undefined): boolean {
    if (this.#once) {
      return false;
    }
    const { method, headers } = this.#request;
    const idempotent = /^(GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method) || headers.has('Idempotency-Key');
    switch (response?.status) {
      case 429:
      case 503: // whoever names a time has not done it
        return idempotent || response.headers.has('Retry-After');
      case 502:
      case 504:
      case undefined:
        return idempotent;
      default:
        return false;
    }
  }

  #token(): Promise<Token> {
    return this.#source.token({ signal: this.#request.signal });
  }
}

/** Whether a body asks for a new token in band, or could be made to. */
function asking(body: string): 'does' | 'could' | 'cannot' {
  let v: unknown;
  try {
    v = JSON.parse(body);
  } catch {
    return 'cannot';
  }
  if (!isObject(v)) {
    return 'cannot';
  }
  return !Object.hasOwn(v, 'refresh') ? 'could' : v['refresh'] === true ? 'does' : 'cannot';
}

/** Whether a body can be read once only. */
function isStream(body: BodyInit | null | undefined): boolean {
  return (
    typeof body === 'object' && body !== null && !ArrayBuffer.isView(body) &&
    ![ArrayBuffer, Blob, FormData, URLSearchParams].some((kind) => body instanceof kind)
  );
}
