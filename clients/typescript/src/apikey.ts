import { failure, isObject } from './errors.js';
import { liquidToken } from './liquid.js';
import type { Held } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { claims, reveal, type Secret, type Token } from './token.js';
import { type Ask, isJSON, members, type Wire } from './wire.js';

export interface ApiKeyOptions extends SourceOptions {
  key: Secret;
  /** The header that carries the key, X-LIQUID-API-KEY if left out. */
  header?: string;
}

/** Contract 1: an API key for access tokens, which live a day. */
export class ApiKeySource extends Source {
  constructor(options: ApiKeyOptions) {
    const { key, header = 'X-LIQUID-API-KEY' } = options;
    super(options, 'liquid', 'GET /authentication', async () => [await reveal(key)], (wire) => () => exchange(wire, header, key));
  }

  /** @internal A token that the next one can be asked for with, in band. */
  ask(): Token | undefined {
    return this.renewer().ask();
  }

  /** @internal Looks for a new token in the answer to a call that asked for one with `used`. asked: ask gave it. */
  async answered(used: Token, response: Response | undefined, asked: boolean): Promise<void> {
    const renewer = this.renewer();
    // Nothing that goes wrong here may cost the caller his answer.
    const next = await renewer.gotOver(async () => response && inBand(used, response, this.wire().pace.clock.now()));
    await renewer.gotOver(async () => (asked ? renewer.took(next) : next && renewer.take(next)));
  }
}

async function exchange(wire: Wire, header: string, key: Secret): Promise<Held> {
  const value = await reveal(key);
  if (!/^[\x21-\x7e]+$/.test(value)) {
    // fetch's own error would repeat it
    throw new TypeError('the API key has a character that no API key has: a line break at its end?');
  }
  const ask: Ask = { contract: 'liquid', method: 'GET', path: '/authentication', headers: { [header]: value }, secrets: [value] };
  const answer = await wire.persist(ask);
  const got = liquidToken(members(answer.text)['data'], answer);
  if (!got) {
    throw failure(wire.doing(ask), 'liquid', 'bad_answer', answer);
  }
  return got;
}

/** The token that the gateway put into an answer. An API may have an `auth` of its own: what is taken over is last in its
 * object, and a token of the same exchange as the one that asked. */
async function inBand(used: Token, response: Response, at: number): Promise<Held | undefined> {
  if (!isJSON(response.headers) || !response.body) {
    return undefined;
  }
  const body = members(await response.clone().text());
  const auth = body['auth'];
  if (Object.keys(body).at(-1) !== 'auth' || !isObject(auth) || auth['type'] !== 'ACCESS_TOKEN') {
    return undefined;
  }
  const next = liquidToken(auth, { headers: response.headers, at });
  const [was, is] = [claims(used.reveal()), claims(next?.token ?? '')];
  const same = is['sid'] !== undefined && is['sid'] === was['sid'] && is['sub'] === was['sub'];
  return same ? next : undefined;
}
