// The scenario with openapi-generator's client for TypeScript (typescript-fetch).
import { Configuration, CustomersApi, ResponseError, type Customer, type RowResults } from "./client/index.js";

const { URL: basePath, TOKEN: accessToken, KEY: externalId } = process.env as Record<string, string>;
const customers = new CustomersApi(new Configuration({ basePath, accessToken }));
const ann = { firstName: "Ann", lastName: "Lee", email: "ann@example.com", groupId: 7 };

const created = (await customers.createCustomers({ createCustomersRequest: { ...ann, externalId } })) as Customer;
console.log("created", Number.isSafeInteger(created.id) && created.id > 2 ** 31, created.version);

const rows = { customers: [ann, { ...ann, firstName: "" }] };
const kept = await customers.createCustomers({ createCustomersRequest: rows, size: "list", onError: "keep" });
console.log("kept", ...(kept as RowResults).results.map((result) => result.status));

const found = await customers.findCustomers({ externalId });
console.log("found", found.customers.map((customer) => customer.id).join() === String(created.id));

const changed = await customers.updateCustomerRaw({ customerId: created.id, changes: { age: 42 }, ifMatch: '"1"' });
console.log("changed", (await changed.value()).age, changed.raw.headers.get("ETag"));

console.log("deleted", (await customers.deleteCustomer({ customerId: created.id })).deleted);
try {
  await customers.getCustomer({ customerId: created.id });
} catch (error) {
  if (!(error instanceof ResponseError)) throw error;
  console.log("refused", error.response.status, (await error.response.json()).type);
}
