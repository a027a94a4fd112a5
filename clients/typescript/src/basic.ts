import { liquidToken } from './liquid.js';
import { Source, type SourceOptions } from './source.js';
import { basic, type Secret } from './token.js';

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
    super(options, { contract: 'liquid', doing: 'GET /order-authentication' }, [userID], async () => ({
      ...(await basic(userID, password)),
      read: (answer) => liquidToken(answer.body, answer),
    }));
  }
}
