import { type Doing, failure, GatehouseError } from './errors.js';
import { has } from './json.js';
import { draw, type Held, held as heldFrom, type Save } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { isToken, reveal, type Secret } from './token.js';
import { type Answer, type Ask, waitFor, type Wire } from './wire.js';

export interface LoginOptions extends SourceOptions {
  username: string;
  password: Secret;
}

/** A spent refresh token is answered again under its key for ten seconds after it was spent. What comes later is taken for
 * theft, and ends the session: so the last repetition begins two seconds earlier, and none waits longer than that. */
const repeatable = 8_000;
const patience = 2_000;

/** Contract 3: username and password for access tokens, which live an hour and are refreshed for as long as that goes. */
export class LoginSource extends Source {
  constructor(options: LoginOptions) {
    const { username, password } = options;
    super(
      options,
      { contract: 'b2b', doing: 'POST /auth/login' },
      [username],
      async () => {
        const secret = await reveal(password);
        return send({ username, password: secret }, secret);
      },
      async (wire, held, save) => {
        const next = await refresh(wire, held, save);
        if (typeof next === 'object') {
          return next;
        }
        if (held?.refresh !== undefined) {
          const { token, type, expires, life } = held;
          await save({ token, type, expires, life }); // the refresh token is never sent again, whatever becomes of the login
        }
        return undefined;
      },
    );
  }

  /**
   * Revokes all tokens of this account that came from logins, its other sessions among them. From then on the source gives
   * none: whoever goes on makes a new one. If it fails, nothing has changed, and it can be called again.
   */
  logout(options?: { signal?: AbortSignal | undefined }): Promise<void> {
    const ended = this.renewer().end((held, save) => logout(this.wire(), held, save));
    return waitFor(ended, options?.signal);
  }
}

/** Spends the refresh token for the next pair. `over`: there is none, or it is worth nothing any more. `lost`: nobody can know;
 * it must not be sent again. */
async function refresh(wire: Wire, held: Held | undefined, save: Save): Promise<Held | 'over' | 'lost'> {
  const { clock } = wire;
  const token = held?.refresh;
  if (!held || token === undefined || clock.now() >= (held.refreshExpires ?? 0)) {
    return 'over';
  }
  const { spending: begun, ...unspent } = held;
  const key = begun?.key ?? draw();
  let since = begun?.since ?? 0;
  let doubt = begun !== undefined; // it may be spent already
  const ask: Ask<Held> = { contract: 'b2b', doing: 'POST /auth/refresh', ...send({ refresh_token: token }, token, { 'Idempotency-Key': key }) };
  for (let attempt = 1; ; attempt++) {
    const now = clock.now();
    if (doubt && !(now >= since && now < since + repeatable)) {
      return 'lost';
    }
    if (!doubt) {
      since = now;
      await save({ ...unspent, spending: { key, since } }); // before it is sent: whoever comes after a crash has the key
    }
    let failed: GatehouseError;
    try {
      return await wire.once(ask, patience);
    } catch (e) {
      failed = e as GatehouseError;
    }
    const { status, retryAfter } = failed;
    if (status === 401) {
      return 'over';
    }
    const refused = status >= 400 && status < 500;
    doubt ||= !refused;
    const wait = doubt ? Math.max(200 + 600 * wire.random(), (retryAfter ?? 0) * 1000) : wire.wait(attempt, retryAfter);
    if (refused && (status !== 429 || wait === undefined)) {
      if (!doubt) {
        await save(unspent); // the token is as good as before
      }
      throw failed;
    }
    if (wait === undefined || (doubt && clock.now() + wait >= since + repeatable)) {
      return 'lost';
    }
    await clock.sleep(wait);
  }
}

async function logout(wire: Wire, held: Held | undefined, save: Save): Promise<void> {
  const doing: Doing = { contract: 'b2b', doing: 'POST /auth/logout' };
  for (let refreshed = false; held; refreshed = true) {
    try {
      await wire.persist({ ...doing, headers: { Authorization: `Bearer ${held.token}` }, secrets: [held.token], read: () => true });
      return;
    } catch (e) {
      if (!(e instanceof GatehouseError) || e.status !== 401) {
        throw e;
      }
    }
    // The access token is over, but the session may live: then it takes a fresh one to end it.
    const next = refreshed ? 'over' : await refresh(wire, held, save);
    if (next === 'over') {
      return;
    }
    if (next === 'lost') {
      throw failure(doing, 'no_answer');
    }
    held = next;
    await save(held);
  }
}

/** A body in JSON, for a pair of tokens. */
function send(body: Record<string, string>, secret: string, headers?: Record<string, string>): Omit<Ask<Held>, keyof Doing> {
  return { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body), secrets: [secret], read: pair };
}

function pair(answer: Answer): Held | undefined {
  const data = answer.body?.['data'];
  if (!has(data, 'string', 'access_token', 'refresh_token', 'access_expires_at', 'refresh_expires_at') || !isToken(data.access_token) || !isToken(data.refresh_token)) {
    return undefined;
  }
  const [expires, nextExpires] = [Date.parse(data.access_expires_at), Date.parse(data.refresh_expires_at)];
  const held = heldFrom(answer, data.access_token, 'B2B_ACCESS', expires);
  const refreshExpires = held.expires + (nextExpires - expires);
  return refreshExpires ? { ...held, refresh: data.refresh_token, refreshExpires } : undefined; // NaN: one of the two is no time
}
