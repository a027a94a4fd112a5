// Drives the published SDK as a partner's own program would. sdk_test.go says what to do, a line of JSON each on standard
// input, and reads what came of it from standard output.
import { createInterface } from 'node:readline';
import { LiquidCommerce, LiquidCommerceOrders, LIQUID_COMMERCE_ENV } from '@liquidcommerce/cloud-sdk';

// The test moves the server's clock, and this one with it, so that nobody waits for a token to expire. The package is as it
// was published: it merely reads the clock.
const now = Date.now;
let ahead = 0;
Date.now = () => now() + ahead;

const env = LIQUID_COMMERCE_ENV.LOC;
let client, orders;

const acts = {
  // A partner's start-up: an API key, and the SDK fetches its token.
  init: async (key) => {
    client = await LiquidCommerce(key, { googlePlacesApiKey: 'unused', env });
    return client.auth();
  },
  products: () => client.catalog.listProducts({ pageSize: 2 }),
  autocomplete: (term) => client.catalog.autocomplete({ term }),
  // With the cart's refresh, which is also how a new token is asked for in band.
  cart: (id) => client.cart.get(id, true),
  orders: async (userID, password) => {
    orders = await LiquidCommerceOrders({ userID, password, env });
    return 'ready';
  },
  order: (id) => orders.order.fetch(id),
  // What the SDK holds, which it has no method for.
  orderToken: async () => {
    const { accessToken, tokenExpiration } = orders.orderAuthenticatedClient;
    return { token: accessToken, expires: tokenExpiration, now: Date.now() };
  },
  advance: async (ms) => (ahead += ms),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [act, ...args] = JSON.parse(line);
  let said;
  try {
    said = { ok: await acts[act](...args) };
  } catch (e) {
    said = { error: e.message ?? String(e) };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
