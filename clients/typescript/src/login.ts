import { failure, GatehouseError } from './errors.js';
import { draw, held as heldFrom, type Held, type Save } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { isToken, reveal, type Secret } from './token.js';
import { type Answer, type Ask, members, waitFor, type Wire } from './wire.js';

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
    super(options, 'b2b', 'POST /auth/login', async () => [username], (wire) => async (held, save) => {
      const next = await refresh(wire, held, save);
      if (typeof next === 'object') {
        return next;
      }
      if (held?.refresh !== undefined) {
        const { token, type, expires, life } = held;
        await save({ token, type, expires, life }); // the refresh token is never sent again, whatever becomes of the login
      }
      return login(wire, username, password);
    });
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

async function login(wire: Wire, username: string, password: Secret): Promise<Held> {
  const secret = await reveal(password);
  const ask = post('/auth/login', { username, password: secret }, secret);
  return pair(wire, ask, await wire.persist(ask));
}

/** Spends the refresh token for the next pair. `over`: there is none, or it is worth nothing any more. `lost`: nobody can know;
 * it must not be sent again. */
async function refresh(wire: Wire, held: Held | undefined, save: Save): Promise<Held | 'over' | 'lost'> {
  const { clock, random } = wire.pace;
  const token = held?.refresh;
  if (!held || token === undefined || clock.now() >= (held.refreshExpires ?? 0)) {
    return 'over';
  }
  const { spending: begun, ...unspent } = held;
  const key = begun?.key ?? draw();
  let since = begun?.since ?? 0;
  let doubt = begun !== undefined; // it may be spent already
  const ask = post('/auth/refresh', { refresh_token: token }, token, { 'Idempotency-Key': key });
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
      return pair(wire, ask, await wire.once(ask, patience));
    } catch (e) {
      failed = e as GatehouseError;
    }
    if (failed.status === 401) {
      return 'over';
    }
    const refused = failed.status >= 400 && failed.status < 500;
    doubt ||= !refused;
    const wait = doubt ? Math.max(200 + 600 * random(), (failed.retryAfter ?? 0) * 1000) : wire.pace.wait(attempt, failed.retryAfter);
    if (refused && (failed.status !== 429 || wait === undefined)) {
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
  for (let refreshed = false; held; ) {
    const headers = { Authorization: `Bearer ${held.token}` };
    const ask: Ask = { contract: 'b2b', method: 'POST', path: '/auth/logout', headers, secrets: [held.token] };
    try {
      await wire.persist(ask);
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
      throw failure(wire.doing(ask), 'b2b', 'no_answer');
    }
    held = next;
    refreshed = true;
    await save(held);
  }
}

function post(path: string, body: Record<string, string>, secret: string, more?: Record<string, string>): Ask {
  const headers = { 'Content-Type': 'application/json', ...more };
  return { contract: 'b2b', method: 'POST', path, headers, body: JSON.stringify(body), secrets: [secret] };
}

function pair(wire: Wire, ask: Ask, answer: Answer): Held {
  const data = members(answer.text)['data'] as Record<string, unknown> | undefined;
  const { access_token: token, refresh_token: next, access_expires_at: until, refresh_expires_at: nextUntil } = data ?? {};
  const [expires, nextExpires] = [Date.parse(String(until)), Date.parse(String(nextUntil))];
  if (!isToken(token) || !isToken(next) || Number.isNaN(expires) || Number.isNaN(nextExpires)) {
    throw failure(wire.doing(ask), 'b2b', 'bad_answer', answer);
  }
  const held = heldFrom(answer, token, 'B2B_ACCESS', expires);
  return { ...held, refresh: next, refreshExpires: held.expires + (nextExpires - expires) };
}
