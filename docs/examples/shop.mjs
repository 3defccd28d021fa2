// A shop's customers: create or update, find by email, change, and sign up. Needs nothing but Node 20.
//
// CUSTOMERS_TOKEN=$(cat .local/token) node docs/examples/shop.mjs

// Milliseconds. The service answers within 29 seconds, so whoever waits longer gets to know what became of a write.
const TIMEOUT = 35_000;
const ATTEMPTS = 6;
// Milliseconds before the second attempt, at most. The limit doubles with each attempt.
const BACKOFF = 250;
const WORTH_REPEATING = new Set([429, 500, 502, 503, 504]);

class CustomersError extends Error {
  constructor(status, problem) {
    super(`${status}: ${problem}`);
    this.status = status;
    this.problem = problem;
  }
}

class Customers {
  #url;
  #token;

  constructor(url, token) {
    this.#url = url;
    this.#token = token;
  }

  /** Create the customer with your own key, or replace all its fields. */
  async put(externalId, customer) {
    const path = `/api/customers/external/${encodeURIComponent(externalId)}`;
    return (await this.#call("PUT", path, customer)).body;
  }

  /** Return the customers with an email address: none, one or several. */
  async find(email) {
    const found = [];
    for (let cursor = ""; cursor !== null; ) {
      const { body } = await this.#call("GET", `/api/customers/?${new URLSearchParams({ email, cursor })}`);
      found.push(...body.customers);
      cursor = body.next_cursor;
    }
    return found;
  }

  /** Set some fields, and overwrite nobody else's change unseen. */
  async change(customerId, fields) {
    const path = `/api/customers/${customerId}`;
    for (;;) {
      const { body: customer, tag } = await this.#call("GET", path);
      // Also after a lost response: then the first attempt has made the change.
      if (Object.entries(fields).every(([name, value]) => customer[name] === value)) return customer;
      // Here a program would look at what it has read, and decide whether the change is still right.
      try {
        return (await this.#call("PATCH", path, fields, { "If-Match": tag })).body;
      } catch (error) {
        // 412: somebody has changed the customer since it was read.
        if (error.status !== 412) throw error;
      }
    }
  }

  /** Create a customer who has no key of yours. The same sign-up with the same key creates one customer. */
  async signUp(customer, key) {
    return (await this.#call("POST", "/api/customers/", customer, { "Idempotency-Key": key })).body;
  }

  /** Send a request that may be repeated, until there is a response. Return its body and its ETag. */
  async #call(method, path, body, headers) {
    for (let attempt = 1; ; attempt++) {
      let wait = Math.random() * BACKOFF * 2 ** attempt;
      let response, text;
      try {
        response = await fetch(this.#url + path, {
          method,
          body: body && JSON.stringify(body),
          headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json", ...headers },
          signal: AbortSignal.timeout(TIMEOUT),
        });
        text = await response.text();
      } catch (error) {
        // No response: the connection failed, or took too long.
        if (attempt === ATTEMPTS) throw error;
      }
      if (text !== undefined) {
        if (response.ok) return { body: JSON.parse(text), tag: response.headers.get("ETag") };
        const after = response.headers.get("Retry-After");
        // A 409 with Retry-After means that the first attempt is still running. Any other 409 is final.
        if (attempt === ATTEMPTS || !(after || WORTH_REPEATING.has(response.status))) {
          throw new CustomersError(response.status, text);
        }
        wait += 1000 * Number(after ?? 0);
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

const customers = new Customers(process.env.CUSTOMERS_URL ?? "http://127.0.0.1:3000", process.env.CUSTOMERS_TOKEN);
const alan = { first_name: "Alan", last_name: "Turing", email: "alan@example.com", group_id: 7 };

const customer = await customers.put("shop-43", alan);
console.log("shop-43 has version", customer.version);
console.log("put again, it has version", (await customers.put("shop-43", alan)).version);

const found = await customers.find("ALAN@example.com");
console.log("found by email:", ...found.map((one) => one.external_id));

const changed = await customers.change(customer.id, { first_name: "Alan M." });
console.log("changed to", changed.first_name, "in version", changed.version);

const mary = { first_name: "Mary", last_name: "Jackson", email: "mary@example.com", group_id: 7 };
const first = await customers.signUp(mary, "sign-up-1921");
const second = await customers.signUp(mary, "sign-up-1921");
console.log("signed up twice, created", new Set([first.id, second.id]).size);
