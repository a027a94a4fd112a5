import { failure } from './errors.js';
import { liquidToken } from './liquid.js';
import type { Held } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { basic, reveal, type Secret } from './token.js';
import { type Ask, members, type Wire } from './wire.js';

export interface BasicOptions extends SourceOptions {
  userID: string;
  password: Secret;
}

/** Contract 2: user ID and password for order tokens, which live ten minutes. */
export class BasicSource extends Source {
  constructor(options: BasicOptions) {
    const { userID, password } = options;
    if (userID.includes(':')) {
      throw new TypeError('a user ID has no colon');
    }
    super(options, 'liquid', 'GET /order-authentication', async () => [userID], (wire) => () => exchange(wire, userID, password));
  }
}

async function exchange(wire: Wire, userID: string, password: Secret): Promise<Held> {
  const secret = await reveal(password);
  const authorization = basic(userID, secret);
  const ask: Ask = {
    contract: 'liquid',
    method: 'GET',
    path: '/order-authentication',
    headers: { Authorization: `Basic ${authorization}` },
    secrets: [secret, authorization],
  };
  const answer = await wire.persist(ask);
  const got = liquidToken(members(answer.text), answer);
  if (!got) {
    throw failure(wire.doing(ask), 'liquid', 'bad_answer', answer);
  }
  return got;
}
