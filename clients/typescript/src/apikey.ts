import { has, isJSON, parse } from './json.js';
import { liquidToken } from './liquid.js';
import type { Held } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { claims, reveal, type Secret, type Token } from './token.js';

export interface ApiKeyOptions extends SourceOptions {
  key: Secret;
  /** The header that carries the key, X-LIQUID-API-KEY if left out. */
  header?: string;
}

/** A call's answer, and the token that it was made with. */
export interface Answered {
  response: Response;
  token: Token;
}

/** Contract 1: an API key for access tokens, which live a day. */
export class ApiKeySource extends Source {
  constructor(options: ApiKeyOptions) {
    const { key, header = 'X-LIQUID-API-KEY' } = options;
    super(options, { contract: 'liquid', doing: 'GET /authentication' }, [key], async () => {
      const value = await reveal(key);
      if (!/^[\x21-\x7e]+$/.test(value)) {
        // fetch's own error would repeat it
        throw new TypeError('the API key has a character that no API key has: a line break at its end?');
      }
      return { headers: { [header]: value }, secrets: [value], read: (answer) => liquidToken(answer.body?.['data'], answer) };
    });
  }

  /** @internal A token that the next one can be asked for with, in band. */
  ask(): Token | undefined {
    return this.renewer().ask();
  }

  /** @internal Looks for a new token in the answer to a call that asked for one. asked: ask gave it its token. */
  answered(asked: boolean, answered: Answered | undefined): Promise<void> {
    return this.renewer().took(asked, async () => answered && inBand(answered, this.wire().clock.now()));
  }
}

/** The token that the gateway put into an answer. An API may have an `auth` of its own: what is taken over is last in its
 * object, and a token of the same exchange as the one that asked. */
async function inBand({ response, token }: Answered, at: number): Promise<Held | undefined> {
  const { status, headers } = response;
  const body = isJSON(headers) && response.body ? parse(await response.clone().text()) : undefined;
  const auth = body?.['auth'];
  if (!body || Object.keys(body).at(-1) !== 'auth' || !has(auth, 'string', 'type', 'token') || auth.type !== 'ACCESS_TOKEN') {
    return undefined;
  }
  const [was, is] = [claims(token.reveal()), claims(auth.token)];
  return is?.['sid'] !== undefined && is['sid'] === was?.['sid'] && is['sub'] === was['sub'] ? liquidToken(auth, { status, headers, at }) : undefined;
}
