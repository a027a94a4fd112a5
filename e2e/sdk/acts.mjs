// What a partner's program does with the published SDK, in Node (client.mjs) and in a page (page.html) alike.
export function acts({ LiquidCommerce, LiquidCommerceOrders }, env) {
  let client, orders;
  return {
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
  };
}
